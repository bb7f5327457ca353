"""The settings of a job: one YAML file, decoded strictly, every field with its unit and its range.

It knows nothing of files other than the config itself, and starts nothing.
"""

import datetime as dt
import difflib
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from recsys.errors import ConfigError

Format = Literal["parquet", "csv", "jsonl"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Augmentation = Literal["crop", "mask", "reorder"]
SignalName = Literal[
    "retrieval",
    "isolated",
    "newest_lasting",
    "newest_recent",
    "whole_lasting",
    "whole_recent",
    "linear_lasting",
    "linear_recent",
    "text",
    "popularity",
    "popularity_month",
    "popularity_quarter",
    "popularity_ever",
    "repeat",
    "seen",
    "returns",
]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

#: Settings that change where or how fast a night runs, never its lists: they are left out of the digest. Threads and
#: devices are not among them, since they round sums differently.
EXECUTION_ONLY: dict[str, Any] = {
    "storage": True,
    "encoder": {"num_workers": True},
    "train": {"max_failures": True},
    "recommend": {"num_workers": True},
    "serve": True,
}


class Section(BaseModel):
    """A part of the config: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class EventColumns(Section):
    """Which column of the events plays which part."""

    user_id: str = "user_id"
    """Column with the user's id."""
    item_id: str = "item_id"
    """Column with the item's id."""
    timestamp: str = "timestamp"
    """Column with the moment: ISO text, `12/1/2010 8:26`, epoch seconds or milliseconds, a date or a timestamp."""
    event: str | None = None
    """Column with the kind of event (`view`, `purchase` …); null: every row is an `interaction`."""
    weight: str | None = None
    """Column with the strength of the event; null: 1 for every row."""
    text: str | None = None
    """Column with what the user said, a review or a search; a row with a text needs no item. Null: nothing is read."""


class ItemColumns(Section):
    """Which column of the items plays which part."""

    item_id: str = "item_id"
    """Column with the item's id."""
    timestamp: str | None = None
    """Column that says which version of an item is the latest; null: the last row of the last file wins."""
    available: str | None = None
    """Column that is true while the item may be recommended; null: every item may."""
    title: str | None = None
    """Column shown to people; null: the first column of `inputs.items.text`."""


class UserColumns(Section):
    """Which column of the users plays which part."""

    user_id: str = "user_id"
    """Column with the user's id."""
    timestamp: str | None = None
    """Column that says which version of a user is the latest; null: the last row of the last file wins."""


class TableInput(Section):
    """Where rows come from and how they are read."""

    path: Annotated[str, Field(min_length=1)]
    """A file, a folder or a glob; local or `s3://`."""
    format: Format = "parquet"
    """`parquet`, `csv` (also `.gz`) or `jsonl`."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """CSV only: one character between fields."""
    encoding: str = "utf-8"
    """CSV only: the files' text encoding."""
    where: str | None = None
    """Rows to use, e.g. `Quantity > 0 and UnitPrice > 0`; null: all. Filtered rows are counted, not quarantined."""
    timezone: str = "UTC"
    """Time zone of timestamps that carry none, e.g. `Europe/London`."""
    timestamp_format: str | None = None
    """strptime format of text timestamps, e.g. `%d/%m/%Y %H:%M`; null: ISO 8601, month/day/year or epoch numbers."""


class EventsInput(TableInput):
    """The interactions."""

    columns: EventColumns = EventColumns()
    """Our names to theirs."""
    max_text_chars: Positive = 1000
    """Longer texts of events are cut to this many characters."""


class ItemsInput(TableInput):
    """The catalog."""

    columns: ItemColumns = ItemColumns()
    """Our names to theirs."""
    text: Annotated[str, Field(min_length=1)]
    """Template of the text a language model reads, over the items' columns: `{title}. {category}`."""
    attributes: list[str] | None = None
    """Columns kept as attributes; null: those of `text`."""
    max_text_chars: Positive = 1000
    """Longer item texts are cut to this many characters."""


class UsersInput(TableInput):
    """What users are; it is taken to hold at all times, also before the events that a model is measured on."""

    columns: UserColumns = UserColumns()
    """Our names to theirs."""
    text: Annotated[str, Field(min_length=1)]
    """Template of the text that stands first in a user's history: `{age} year old {occupation}`."""
    max_text_chars: Positive = 1000
    """Longer user texts are cut to this many characters."""


class InputsConfig(Section):
    """What the night reads, and how much of it may be bad."""

    events: EventsInput
    """Interactions of users with items."""
    items: ItemsInput
    """The items that may be recommended."""
    users: UsersInput | None = None
    """What users are, as text; null: nothing is known of them but their events."""
    feedback: bool = True
    """Read what the live service was told, below `storage`/feedback, beside the events."""
    max_quarantine_rate: Fraction = 0.05
    """Share of the rows read (after `where`) that may be quarantined before the night stops with exit code 3."""
    max_id_chars: Positive = 256
    """A longer user or item id is quarantined."""

    @property
    def has_user_texts(self) -> bool:
        """Whether histories hold texts: what users are, or what they said."""
        return self.users is not None or self.events.columns.text is not None


class HistoriesConfig(Section):
    """One row per user, in deterministic hash shards."""

    max_length: Positive = 50
    """Newest events of a user that the ranker reads."""
    max_events: Positive = 500
    """Newest events of a user that are kept, at least `max_length`: repeats look further back than the ranker."""

    @property
    def kept_events(self) -> int:
        """Newest events of a user that are kept."""
        return max(self.max_length, self.max_events)

    shards: Annotated[int, Field(ge=1, le=99_999)] = 16
    """Files the users are hashed into: the unit of work, of retry and of resume."""


class ScratchEncoderConfig(Section):
    """The small encoder that is trained on the catalog where `encoder.model` is null."""

    hidden_size: Positive = 128
    """Width of the text vector."""
    layers: Positive = 2
    """Transformer layers."""
    heads: Positive = 2
    """Attention heads; must divide `hidden_size`."""
    vocab_size: Annotated[int, Field(ge=300)] = 8192
    """Tokens of the byte-level tokenizer trained on the catalog."""
    pretrain_steps: Annotated[int, Field(ge=0)] = 100
    """Steps of pretraining on the catalog's text, by telling parts of one text from parts of others."""
    pretrain_batch_size: Positive = 128
    """Texts a pretraining step; each is told from all others of the step."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """Peak learning rate of pretraining."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "ScratchEncoderConfig":
        if self.hidden_size % self.heads:
            raise ValueError(f"heads={self.heads} must divide hidden_size={self.hidden_size}")
        return self


class TransitionsConfig(Section):
    """The sparse item-to-item model beside the ranker."""

    window: Positive = 20
    """Events from an item to those that count as following it."""
    half_life_days: Annotated[float, Field(gt=0)] = 10.0
    """Age at which a pair counts half on the scale `recent`; on the scale `lasting` age does not matter."""
    neighbours: Positive = 200
    """Strongest successors that are kept of an item."""


class LinearConfig(Section):
    """The linear item-to-item model beside the ranker (EASE), in closed form."""

    items: Annotated[int, Field(ge=0)] = 8_192
    """Most items that it knows, those with the most transitions; memory grows with the square and time with the cube of
    it. 0: no linear model."""
    users: Positive = 1_000_000
    """Users after whom no further shard is read: a sample tells as much."""
    ridge: Annotated[float, Field(gt=0)] = 300.0
    """Pull of the weights towards 0, in users who took an item."""
    half_life_days: Annotated[float, Field(gt=0)] = 10.0
    """Age at which what a user took counts half on the scale `recent`; on the scale `lasting` age does not matter."""
    neighbours: Positive = 100
    """Largest weights that are kept of an item, on each scale."""


class EncoderConfig(Section):
    """The language model that turns an item's text into a vector, once per text."""

    model: str | None = None
    """Hub id, local folder, `package://name/folder` (weights in an installed package), or null: one from scratch."""
    revision: str | None = None
    """Commit of the hub model; null: its default branch."""
    train: Literal["frozen", "lora", "full"] = "frozen"
    """Whether it learns from interactions, with the ranker: not, by low-rank adapters, or with all of its weights."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Its peak learning rate in training; null: 2e-5 where `train` is full, 2e-4 where it is lora."""
    lora_rank: Positive = 16
    """Rank of the adapters where `train` is lora."""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How token vectors become one; auto: as the model's folder declares, else `last` for decoders, else `mean`."""
    max_tokens: Annotated[int, Field(ge=4)] = 64
    """Longer texts are cut to this many tokens."""
    batch_size: Positive = 128
    """Texts a forward pass."""
    precision: Precision = "auto"
    """Arithmetic of the encoder; auto: bf16 for a pretrained one where the device multiplies it natively, else fp32."""
    num_workers: Positive | None = None
    """Encoder workers; null: one a CPU, or a GPU."""
    use_gpu: bool = False
    """One GPU for each encoder worker."""
    scratch: ScratchEncoderConfig = ScratchEncoderConfig()
    """The small encoder, where `model` is null."""

    @property
    def learns(self) -> bool:
        """Whether each night makes an encoder of its own."""
        return self.train != "frozen"

    @property
    def peak_learning_rate(self) -> float:
        """In training. Adapters begin as nothing and are few: they want ten times as much as weights that know much."""
        return self.learning_rate or {"lora": 2e-4}.get(self.train, 2e-5)

    @property
    def arithmetic(self) -> Precision:
        """`precision` of this encoder: one from scratch is so small that products are hardly what takes its time."""
        return "fp32" if self.precision == "auto" and self.model is None else self.precision


class RankerConfig(Section):
    """The causal transformer over item vectors."""

    model: str | None = None
    """Hub id or local folder of a full-attention decoder, or null: a small one of the sizes below."""
    revision: str | None = None
    """Commit of the hub model; null: its default branch."""
    hidden_size: Positive = 128
    """Width of item and user vectors, and of the small decoder."""
    layers: Positive = 2
    """Layers of the small decoder."""
    heads: Positive = 4
    """Attention heads of the small decoder; must divide `hidden_size`."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of input and output features dropped in training."""
    parts: Literal["both", "text", "ids"] = "both"
    """What an item's vector is made of: its text, an embedding of its id, or both; ids say nothing of new items."""
    id_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of items whose id embedding is dropped in a training step, so that text alone must do."""
    train: Literal["full", "lora"] = "full"
    """Train all weights of the decoder, or low-rank adapters of its linear layers."""
    lora_rank: Positive = 16
    """Rank of the adapters where `train` is lora."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "RankerConfig":
        if self.model is None and self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of 2 × heads={self.heads}, as rotary positions ask"
            )
        return self


class TrainConfig(Section):
    """Fine-tuning of the ranker, by Ray Train and DeepSpeed."""

    epochs: Annotated[int, Field(ge=1)] = 10
    """Most passes over the training windows; more where these take fewer than `min_steps` steps."""
    min_steps: Annotated[int, Field(ge=0)] = 300
    """Optimiser steps that a training may take however few windows there are; early stopping still ends it."""
    recent_days: Positive = 30
    """Age of the targets that are learned once more by themselves, as what is newest matters most."""
    recent_epochs: Annotated[int, Field(ge=0)] = 4
    """Epochs over them, after all windows and again after the gate; kept where validation gains by them."""
    refit: bool = True
    """After the gate, learn the held-out days too, so that the lists come from all that is known."""
    listwise_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs after that which also train the second look at the best candidates; 0, since it seldom pays: none."""
    listwise_candidates: Annotated[int, Field(ge=2)] = 50
    """Items that a target is told from in them, beside the whole catalog: the hardest, and every fifth at random."""
    batch_size: Positive = 128
    """Training windows an optimiser step, over all workers and accumulation steps."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW."""
    warmup: Fraction = 0.05
    """Share of the steps in which the learning rate rises; a cosine brings it down after."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of a gradient."""
    accumulation_steps: Positive = 1
    """Micro-batches summed up for an optimiser step."""
    precision: Precision = "auto"
    """Arithmetic of training; auto: products in bf16 where the device multiplies it natively, all else in fp32."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Make machine code of the decoder, by which it learns a fifth faster; auto: where an epoch takes a minute."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 1
    """DeepSpeed ZeRO stage: 1 shards optimiser state, 2 gradients too, 3 weights too."""
    num_workers: Positive = 1
    """Training workers; each takes `cpus_per_worker` CPUs or one GPU."""
    cpus_per_worker: Positive | None = None
    """CPUs and threads of a training worker; null: a node's, but one, shared by its workers; one beside a GPU."""
    use_gpu: bool = False
    """One GPU for each training worker."""
    max_events_per_user: Annotated[int, Field(ge=2)] = 1000
    """Newest events of a user that training reads, cut into windows of `histories.max_length`."""
    validation_users: Positive = 500
    """Users whose last moment before the holdout is kept from training, for early stopping and the fusion's weights."""
    patience: Positive = 3
    """Epochs without a better validation before training stops."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """Deaths of training workers that are recovered from the last checkpoint."""
    warm_start: bool = True
    """Begin from the published model where one fits."""
    event_weights: dict[str, Annotated[float, Field(ge=0)]] | None = None
    """What an event counts for as a target, by its kind, e.g. `{purchase: 3, view: 0.5}`; kinds not named count 1."""
    recency_half_life_days: Annotated[float, Field(gt=0)] | None = None
    """A target counts half for each so many days that it lies before the holdout; null: age does not matter."""
    full_softmax_items: Annotated[int, Field(ge=0)] = 50_000
    """Most items with interactions over all of which the loss is taken; beyond them over a sample."""
    negatives: Positive = 4096
    """Uniformly drawn items with interactions in a sample, beside the items of the batch."""
    logq_strength: Fraction = 1.0
    """How far a sampled loss makes up for unequal chances to be sampled: less lifts coverage and costs accuracy."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of a target's probability that the loss spreads evenly over all items."""
    augment: list[Augmentation] = []
    """Ways in which training windows are changed at random: `crop`, `mask` and `reorder`; none by default."""
    augment_probability: Fraction = 0.5
    """Probability that a window is changed, where `augment` names a way."""
    augment_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of a changed window's events that are cut away, hidden or put in another order."""
    adversarial: Annotated[float, Field(ge=0.0)] = 0.0
    """Length of the worst push to each window's tokens, which a second pass learns to bear; 0: there is none."""

    @model_validator(mode="after")
    def _whole_weights_to_compile(self) -> "TrainConfig":
        if self.compile == "always" and self.zero_stage == 3:
            raise ValueError("compile=always needs the whole weights on each worker: set zero_stage to 2 or less")
        return self

    def cpus_of_worker(self, there: int) -> int:
        """CPUs of each training worker, where so many are there for each."""
        return self.cpus_per_worker or (1 if self.use_gpu else there)


class RecommendConfig(Section):
    """The lists."""

    top_k: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Length of a list."""
    candidates: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Items retrieved for a user before ranking; at least `top_k`."""
    signals: Annotated[list[SignalName], Field(min_length=1)] | None = None
    """Signals that may weigh in the score, e.g. `[retrieval]`, the ranker alone; null: all, as validation weighs."""
    exclude_seen: bool = True
    """Leave out what the user already touched."""
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

    @model_validator(mode="after")
    def _enough_candidates(self) -> "RecommendConfig":
        if self.candidates < self.top_k:
            raise ValueError(f"candidates={self.candidates} must be at least top_k={self.top_k}")
        return self


class RerankConfig(Section):
    """Who may be recommended, and what else than the score decides the order; by default nothing else does."""

    block: list[str] | None = None
    """Item ids that are never recommended."""
    block_file: Annotated[str, Field(min_length=1)] | None = None
    """Text file of such ids, one a line; local or `s3://`."""
    allow_file: Annotated[str, Field(min_length=1)] | None = None
    """Text file of item ids, one a line; nothing else is recommended. Local or `s3://`."""
    where: str | None = None
    """Filter over the items' attributes that a recommended item passes, e.g. `category != 'Gift cards'`."""
    new_items: Fraction = 0.1
    """Share of a list for the user's best items without interactions, at most their share of the catalog; 0: none."""
    tail: Annotated[float, Field(ge=0.0)] = 0.0
    """Long-tail dial: items outside the fifth of the catalog with most interactions count e^tail times as much."""
    diversity: Fraction = 0.0
    """Maximal marginal relevance: 0 ranks by score alone, 1 by unlikeness to the items above it alone."""
    pool: Positive = 100
    """Best candidates that diversity chooses from; at least `recommend.top_k` are read."""
    exploration: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Share of a list, its last places, given to items drawn from the user's other candidates."""


class GateConfig(Section):
    """What a new model must show before it is published: not to be significantly worse than what is there."""

    holdout_days: Positive = 7
    """Newest days kept from training; the model is measured on them."""
    metric: Annotated[str, Field(pattern=r"^(ndcg|recall|hitrate|mrr)@[1-9][0-9]{0,3}$")] = "ndcg@10"
    """What is compared: `ndcg@k`, `recall@k`, `hitrate@k` or `mrr@k`."""
    tolerance: Fraction = 0.02
    """Share of the published model's metric that a new model may surely be below it, and still be published."""
    min_users: Positive = 20
    """With fewer held-out users the gate warns and lets the model pass, since nothing can be told from them."""
    max_users: Positive = 10_000
    """Held-out users measured at most, chosen by hash."""


class ServeConfig(Section):
    """The live service."""

    host: str = "127.0.0.1"
    """Address to listen on; without `keys_file` only loopback is allowed."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """TCP port."""
    keys_file: str | None = None
    """File with the hashed keys of callers; null: no key asked."""
    replicas: Positive = 1
    """Processes that answer, at least."""
    max_replicas: Positive | None = None
    """Processes that answer at most, as many as the load asks for; null: always `replicas`."""
    cpus_per_replica: Positive = 1
    """CPUs that Ray sets aside for a process that answers; it ranks in one thread."""
    max_batch_size: Positive = 32
    """Requests that are ranked together."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Milliseconds that a request waits for others to be ranked with; those that came meanwhile go together anyway."""
    max_queued: Positive = 10
    """Requests for lists that a process has in hand, being ranked or waiting; more are answered with 429."""
    deadline_ms: Annotated[float, Field(ge=1)] = 1000.0
    """Milliseconds after which a request that is still being ranked is answered with what is popular."""
    refresh_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds between looks for a newer night."""

    @model_validator(mode="after")
    def _keys_or_loopback(self) -> "ServeConfig":
        if self.keys_file is None and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(f"host={self.host} is reachable from outside: set keys_file, or listen on 127.0.0.1")
        return self


class Config(Section):
    """The whole config of a job."""

    storage: Annotated[str, Field(min_length=1)] = "./warehouse"
    """Root of everything written: a folder or `s3://bucket/prefix`."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of every random choice."""
    date: dt.date | None = None
    """Data date of the night; null: today (UTC)."""
    inputs: InputsConfig
    """What is read."""
    histories: HistoriesConfig = HistoriesConfig()
    """How users' events are laid out."""
    encoder: EncoderConfig = EncoderConfig()
    """Text to vectors."""
    ranker: RankerConfig = RankerConfig()
    """Vectors to scores."""
    train: TrainConfig = TrainConfig()
    """Fine-tuning."""
    transitions: TransitionsConfig = TransitionsConfig()
    linear: LinearConfig = LinearConfig()
    """What follows what."""
    recommend: RecommendConfig = RecommendConfig()
    """The lists."""
    rerank: RerankConfig = RerankConfig()
    """Filters and dials of the lists."""
    gate: GateConfig = GateConfig()
    """The model's exam."""
    serve: ServeConfig = ServeConfig()
    """The live service."""

    @field_validator("date", mode="before")
    @classmethod
    def _iso_date(cls, value: object) -> object:
        """Accept `2026-11-22` as text too: JSON and some YAML writers quote dates."""
        if isinstance(value, dt.datetime):
            value = value.isoformat()
        if isinstance(value, str):
            try:
                return dt.date.fromisoformat(value)
            except ValueError as error:
                raise ValueError(f"must be a date like 2026-11-22, got {value!r}") from error
        return value

    @model_validator(mode="after")
    def _batch_divides(self) -> "Config":
        parts = self.train.num_workers * self.train.accumulation_steps
        if self.train.batch_size % parts:
            raise ValueError(
                f"train.batch_size={self.train.batch_size} must be a multiple of train.num_workers × "
                f"train.accumulation_steps = {parts}"
            )
        return self

    @model_validator(mode="after")
    def _encoder_is_read(self) -> "Config":
        if self.encoder.learns and self.ranker.parts == "ids":
            raise ValueError(
                f"encoder.train={self.encoder.train} has nothing to learn from where ranker.parts=ids reads no text: "
                f"take parts both or text, or a frozen encoder"
            )
        return self

    @model_validator(mode="after")
    def _exploration_has_a_place(self) -> "Config":
        share, top_k = self.rerank.exploration, self.recommend.top_k
        if share and share * top_k < 1 - 1e-9:
            needed = f"at least {math.ceil(1000 / top_k) / 1000:g}" if top_k > 1 else "lists of 2 or more"
            raise ValueError(
                f"rerank.exploration={share:g} gives no place of recommend.top_k={top_k}: ask for {needed}, or for 0"
            )
        return self

    def digest(self) -> str:
        """Hex digest of every setting that can change a list; see `EXECUTION_ONLY`."""
        return _digest_of(self.model_dump(mode="json", exclude=EXECUTION_ONLY))

    def encoder_recipe(self) -> str:
        """Hex digest of what a text encoder from scratch is made by, besides the catalog of its first night."""
        recipe = self.encoder.model_dump(mode="json", include={"scratch": True, "max_tokens": True})
        return _digest_of(recipe | {"precision": self.encoder.arithmetic, "seed": self.seed})

    def to_yaml(self) -> str:
        """The resolved config, every default written out."""
        stream = io.StringIO()
        YAML(typ="safe", pure=True).dump(self.model_dump(mode="json"), stream)
        return stream.getvalue()


def _digest_of(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def load_config(path: str | Path, overrides: Sequence[str] = (), date: str | None = None) -> Config:
    """Read a YAML config; `overrides` are `key.path=value` with YAML values, `date` wins over both.

    `${NAME}` and `${NAME:-default}` inside a text stand for environment variables. Relative local paths are taken
    from the working directory.

    Raises:
        ConfigError: the file is missing, not YAML, or a key is unknown, missing, of a wrong type or out of range.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: cannot be read: {error}") from error
    raw = _parse_yaml(text, f"config {path}")
    if not isinstance(raw, dict):
        raise ConfigError(f"config {path}: must be a mapping of keys, got {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    if date is not None:
        raw["date"] = date
    return decode_config(raw)


def decode_config(raw: Mapping[str, Any]) -> Config:
    """Validate a mapping; raises ConfigError that names the full path of every fault."""
    try:
        return Config.model_validate(_interpolate(raw, ""))
    except pydantic.ValidationError as error:
        raise ConfigError("\n".join(_explain(fault) for fault in error.errors())) from error


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{origin}: is not valid YAML: {error}") from error


def _override(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override}: must look like recommend.top_k=20")
    *parents, leaf = key.split(".")
    section = raw
    for parent in parents:
        child = section.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a section")
        section = child
    section[leaf] = _parse_yaml(value, f"--set {override}")


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def _interpolate(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _interpolate(child, f"{path}.{key}".lstrip(".")) for key, child in value.items()}
    if isinstance(value, list):
        return [_interpolate(child, f"{path}[{index}]") for index, child in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            raise ConfigError(f"{path}: environment variable {name} is not set; set it or write ${{{name}:-default}}")
        return found

    return _VARIABLE.sub(replace, value)


_BOUNDS = {
    "greater_than_equal": "must be ≥ {ge}",
    "greater_than": "must be > {gt}",
    "less_than_equal": "must be ≤ {le}",
    "less_than": "must be < {lt}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
}


def _explain(fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    prefix = f"{path}: " if path else ""
    kind = fault["type"]
    if kind == "extra_forbidden":
        return f"{prefix}unknown key{_suggest(fault['loc'])}"
    if kind == "missing":
        return f"{prefix}is required"
    if kind == "value_error":
        return f"{prefix}{fault['ctx']['error']}"
    if kind in _BOUNDS:
        return f"{prefix}{_BOUNDS[kind].format(**fault['ctx'])}, got {fault['input']!r}"
    message = fault["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    return (
        f"{prefix}must be {message}, got {fault['input']!r}"
        if message != fault["msg"]
        else f"{prefix}{message}, got {fault['input']!r}"
    )


def _suggest(loc: tuple[str | int, ...]) -> str:
    section: Any = Config
    for part in loc[:-1]:
        annotation = section.model_fields[str(part)].annotation
        section = next((kind for kind in get_args(annotation) if kind is not type(None)), annotation)  # of an optional
    close = difflib.get_close_matches(str(loc[-1]), section.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(section.model_fields)}"
