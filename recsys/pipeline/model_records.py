"""What the stages of the model leave behind, as JSON: from the encoded texts to the gate.

A stored record that no longer fits its class is treated as missing: the stage runs again.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from recsys.config.strict_json import STRICT
from recsys.evaluation.gain import RelativeGain
from recsys.evaluation.segments import MeasuredSegment
from recsys.pipeline.stage import StageRecord


@dataclass(frozen=True, kw_only=True)
class EncodedTexts(StageRecord):
    """What `encode_items` and `encode_tuned` left."""

    encoded: int
    """Texts that had no stored vector."""
    user_texts: int = 0
    """Distinct texts of users and searches."""
    encoder_id: str
    """Digest of the encoder."""
    dim: int
    """Length of a text vector."""
    path: str


@dataclass(frozen=True, kw_only=True)
class WrittenTextCounts(StageRecord):
    """What the stages that have texts written leave."""

    enriched: int
    """Items or users with a written text, also of earlier nights."""
    written: int
    """Texts that were written in this night, also those that are refused."""
    waiting: int
    """Texts that are left for the next night."""
    refused: dict[str, int]
    """Stored texts that are not used, by reason."""
    failed: dict[str, int]
    """Texts that the back end did not write in this night, by reason."""
    input_tokens: int
    """Tokens of this night's questions; a question whose answer was lost counts with the most that it can have."""
    output_tokens: int
    cost: float
    """Of these tokens, by the prices of the config."""
    writer_id: str
    """Digest of back end, model and prompts, by which the texts are stored."""
    model: str
    prompt_hash: str
    path: str


@dataclass(frozen=True, kw_only=True)
class EnrichedItems(WrittenTextCounts):
    """What `enrich_items` leaves; `rows` are the items of the catalog."""


@dataclass(frozen=True, kw_only=True)
class EnrichedUsers(WrittenTextCounts):
    """What `enrich_users` leaves; `rows` are the users with enough events."""


@dataclass(frozen=True, kw_only=True)
class LearnedBaskets(StageRecord):
    """What `learn_baskets` leaves; `rows` are the users of all steps."""

    users: int
    """Users with two items or more before the holdout."""
    validation_users: int
    steps: int
    best_step: int
    """Step after which the encoder was kept; 0: it stayed as it was."""
    before: Annotated[float, Field(alias="validation_ndcg@10_before")]
    """NDCG@10 of text-EASE on validation before the training, 0 without validation users."""
    after: Annotated[float, Field(alias="validation_ndcg@10")]
    """The same with the kept encoder."""
    history: list[dict[str, float]]
    """Figures of each check."""
    start: str
    """Model whose encoder it continued."""
    encoder_id: str
    """Digest of the kept encoder."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """The model that training continues, which `finetune` settles first. It is kept as the part `WARM_START`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    model_id: str
    """Empty if training starts at random weights."""
    trained_until: str
    """The model learned from no event from this time on; ISO 8601, UTC."""
    trains: bool | None = None
    """Whether the night trains, see `recsys.pipeline.training.training_budget`; None: not settled."""
    reused: str = ""
    """Why the night does not train."""
    since: str = ""
    """The night learns only from what the model did not learn from, which is mostly events from this time on (ISO 8601,
    UTC), and from replayed windows; empty: from all events."""
    reused_refit: str = ""
    """The model that was published with it, after its refit; empty: it had none."""


WARM_START = "start"


@dataclass(frozen=True, kw_only=True)
class TrainedModel(StageRecord):
    """What `finetune` leaves; `rows` are the windows of all epochs."""

    windows: int
    recent_windows: int
    validation_users: int
    epochs: int
    best_epoch: int
    recent_helped: bool
    """Whether the phase with only the newest targets raised NDCG on validation."""
    loss: float
    """Loss of the best epoch."""
    validation_ndcg: Annotated[float, Field(alias="validation_ndcg@10")]
    """NDCG@10 of the best epoch on validation, 0 without validation users."""
    candidate_pass: bool
    """Whether the model scores candidates in a pass of their own."""
    model_id: str
    warm_start: str
    """Model that training started from, or `none`."""
    history: list[dict[str, float]]
    """Figures of each epoch."""
    phases: list[str]
    """Phase of each epoch."""
    trained: bool = True
    """Whether the model learned something, in this night or in one before; else the ranker's numbers have no weight."""
    reused: str = ""
    """Why nothing was trained, though there may be something to learn from; empty otherwise."""
    since: str = ""
    """See `WarmStart.since`."""


@dataclass(frozen=True, kw_only=True)
class RefittedModel(StageRecord):
    """What `refit` leaves."""

    windows: int
    loss: float
    model_id: str
    history: list[dict[str, float]] = field(default_factory=list)
    """Figures of each epoch; no user is held out, so there is no validation. Older records do not have them."""


@dataclass(frozen=True, kw_only=True)
class CountedSignals(StageRecord):
    """What `count_signals` leaves."""

    merged: dict[str, int]
    """Rows of the merged table of each signal that is counted, for the view `full`."""


@dataclass(frozen=True, kw_only=True)
class MatchedColdItems(StageRecord):
    """What `match_cold_items` leaves."""

    cold_items: int
    """Items without any interaction."""
    cold_in_training: int
    """Items without an interaction in the training data."""


@dataclass(frozen=True, kw_only=True)
class ReadTitles(StageRecord):
    """What `read_titles` leaves."""

    computed: int
    """Titles that no earlier night had read."""
    lm_id: str
    """Digest of the language model and of its prompt without a history."""


@dataclass(frozen=True, kw_only=True)
class FittedFusion(StageRecord):
    """What `fit_fusion` leaves: the fitted weights of the signals' numbers, and NDCG@10 on validation."""

    users: int
    """Validation users whose candidates hold an item that they took."""
    ndcg: Annotated[float, Field(alias="validation_ndcg@10")]
    alone: Annotated[dict[str, float], Field(alias="validation_alone")]
    """NDCG@10 of each number alone."""
    short_ndcg: Annotated[float, Field(alias="validation_short_ndcg@10")]
    short_ndcg_without: Annotated[float, Field(alias="validation_short_ndcg@10_without")]
    trees: int
    """Trees that correct the weighted sum; 0: there were too few users, or the weights alone rank as well."""
    trees_ndcg: Annotated[float, Field(alias="validation_trees_ndcg@10")]
    """NDCG@10 with trees for users whom neither weights nor trees were fitted on; 0: no trees were tried."""
    trees_ndcg_without: Annotated[float, Field(alias="validation_trees_ndcg@10_without")]
    """The same by weights alone."""
    weights: dict[str, float]
    weights_short: dict[str, float]
    weights_session: dict[str, float]
    gains: dict[str, RelativeGain] = field(default_factory=dict)
    """What the ranker, the texts and both add to the other signals; empty where nothing was fitted."""


@dataclass(frozen=True, kw_only=True)
class GateVerdict(StageRecord):
    """What `run_gate` leaves; `rows` are the measured users."""

    verdict: Literal["passed", "refused", "not_examined"]
    """`not_examined`: too few users to compare, so the model passed."""
    reason: str
    compared_with: str
    """The published model, or `none`."""
    details: dict[str, Any]
    """See `recsys.evaluation.gate.Verdict`."""
    segments: list[MeasuredSegment] = field(default_factory=list)
    """Quality of all measured users, and of slices of them; older records do not have it."""
