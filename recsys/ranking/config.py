"""The settings of the lists and of the re-ranking rules."""

import datetime as dt
from typing import Annotated, Any

from pydantic import Field, model_validator

from recsys.config.section import Fraction, Positive, Precision, Section
from recsys.data.config import Condition
from recsys.ranking.business_config import Boost, ExcludeServed, Pin, QuietPeriod


class RecommendConfig(Section):
    """The lists."""

    top_k: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Length of a list."""
    candidates: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Items retrieved for a user before ranking; at least `top_k`."""
    signals: Annotated[list[str], Field(min_length=1)] | None = None
    """Signals, or numbers of signals, that may have a weight in the score, e.g. `[ranker]`; null: all."""
    exclude_seen: bool = True
    """Leave out what the user already touched, also what the user returned or disliked."""
    exclude_rejected: bool = False
    """Leave out what the user rejected and did not take again: the item's newest event has a negative weight (see
    `inputs.event_weights`). It makes a difference where `exclude_seen` is false."""
    num_workers: Positive | None = None
    """Scoring workers; null: as many as there are CPUs, or GPUs, for."""
    cpus_per_worker: Positive = 1
    """CPUs and threads of a scoring worker."""
    use_gpu: bool = False
    """One GPU for each scoring worker."""
    precision: Precision = "auto"
    """Arithmetic of the decoder on a GPU; auto: bf16 where it is multiplied natively. On CPUs it is always fp32."""
    batch_size: Positive = 2048
    """Users scored together."""
    max_failed_users: Annotated[int, Field(ge=0)] = 10
    """Users whose lists may fail, or end the worker, before the night stops. They get popular items and are put into
    quarantine. More than 1 % of the users may never fail, but one always may; 0: none."""

    @model_validator(mode="after")
    def _enough_candidates(self) -> "RecommendConfig":
        if self.candidates < self.top_k:
            raise ValueError(f"candidates={self.candidates} must be at least top_k={self.top_k}")
        return self


class SimilarItemsConfig(Section):
    """Which items go with an item."""

    publish: bool = False
    """Write a table of the similar items of the whole catalog with every night. The live service answers for single
    items without it."""
    top_k: Annotated[int, Field(ge=1, le=500)] = 20
    """Similar items of an item."""


class RerankConfig(Section):
    """Which items may be recommended, and what else than the score decides the order of a list."""

    block: list[str] | None = None
    """Item ids that are never recommended."""
    block_file: Annotated[str, Field(min_length=1)] | None = None
    """Text file of such ids, one a line; local or `s3://`."""
    allow_file: Annotated[str, Field(min_length=1)] | None = None
    """Text file of item ids, one a line; nothing else is recommended. Local or `s3://`."""
    where: Condition | None = None
    """SQL condition over the items' attributes that a recommended item passes, e.g. `category != 'Gift cards'`."""
    cold_item_slots: Fraction = 0.1
    """Share of a list for the user's best new items, at most their share of the catalog; 0: none. An item is new until
    somebody takes it or rejects it."""
    long_tail_boost: Annotated[float, Field(ge=0.0)] = 0.0
    """Items outside the fifth of the catalog with most interactions count e^long_tail_boost times as much."""
    diversity: Fraction = 0.0
    """Maximal marginal relevance: 0 ranks by score alone, 1 by dissimilarity from the items above alone."""
    diversity_pool: Positive = 100
    """Best candidates that diversity chooses from; at least `recommend.top_k` are read."""
    exploration: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Share of a list, its last places, for items drawn at random from the user's other candidates."""
    shown_after_days: Annotated[int, Field(ge=0, le=366)] = 1
    """Days from the night's date to the day on which its lists are shown. The days of pins, boosts and expiry are
    compared with that day. 0 where nights run with `date: today`."""
    pins: Annotated[list[Pin], Field(max_length=100)] = Field(default_factory=list)
    """Items with a fixed place in every list."""
    boosts: Annotated[list[Boost], Field(max_length=100)] = Field(default_factory=list)
    """Items whose probability is multiplied."""
    caps: dict[str, Positive] = Field(default_factory=dict)
    """For an attribute of the items, the most items with one value in a list, e.g. `{brand: 3}`. More are shown only
    where nothing else is left. Pinned items count, and stay."""
    expiry: Annotated[str, Field(min_length=1)] | None = None
    """Attribute that holds the date or time until which an item is valid, e.g. `valid_until`. An item that does not
    last through the day on which the lists are shown is not recommended. A date counts to its end, in UTC."""
    quiet: QuietPeriod | None = None
    """Days without an item, or without its kind, after a user took it; null: none."""
    exclude_served: ExcludeServed | None = None
    """Items that a user was shown and did not take go down, or out, for some days; null: impressions change nothing."""
    rules: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of rules that have a section of their own, by the rule's name, e.g. `max_per_category: {most: 2}`."""

    def shown_on(self, date: dt.date) -> dt.date:
        """The day on which the lists of the night of ``date`` are shown."""
        return date + dt.timedelta(days=self.shown_after_days)

    def for_measuring(self) -> "RerankConfig":
        """Without exploration and without what the shop decides: the gate judges the model by itself."""
        return self.model_copy(
            update={"exploration": 0.0, "pins": [], "boosts": [], "caps": {}, "quiet": None, "exclude_served": None}
        )
