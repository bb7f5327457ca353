"""What each stage leaves behind, as JSON: the values that later stages read, and the counts for people.

A stored record that no longer fits its class is treated as missing: the stage runs again.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from recsys.data.bad_values import BadValue
from recsys.evaluation.gain import RelativeGain
from recsys.evaluation.list_checks import CheckResult, NightFigures
from recsys.evaluation.list_overlap import ListOverlap
from recsys.evaluation.list_shape import Concentration, ScoreCounts
from recsys.evaluation.segments import MeasuredSegment
from recsys.pipeline.stage import StageRecord
from recsys.pipeline.strict_json import STRICT
from recsys.ranking.rerank_counts import RerankCounts


@dataclass(frozen=True, kw_only=True)
class ReadRows(StageRecord):
    """Counts of the rows of an input."""

    filtered: int
    """Rows that `where` left out."""
    later: int = 0
    """Rows from after the night's date, which wait for their own night."""
    quarantined: int
    forgiven: int = 0
    """Quarantined rows that are no fault of the input: broken last lines of feedback files."""
    reasons: dict[str, int]
    """Quarantined rows by reason."""
    lacking: dict[str, int] = field(default_factory=dict)
    """Rows of files without an optional column, by column; it counts as empty there."""
    examples: list[BadValue] = field(default_factory=list)
    """The commonest bad values of each reason."""

    @property
    def num_bad(self) -> int:
        """Rows that count for `inputs.max_quarantine_rate`."""
        return self.quarantined - self.forgiven

    @property
    def bad_rate(self) -> float:
        """Their share of the rows that `where` kept."""
        return self.num_bad / max(self.rows - self.filtered, 1)


@dataclass(frozen=True, kw_only=True)
class IngestedCatalog(ReadRows):
    """What `ingest_catalog` leaves."""

    items: int
    available: int
    """Items that are not marked as unavailable."""
    texts: int = 1
    """Distinct texts that are not empty; older records do not have it."""
    path: str


@dataclass(frozen=True, kw_only=True)
class IngestedUsers(ReadRows):
    """What `ingest_users` leaves."""

    users: int
    path: str


@dataclass(frozen=True, kw_only=True)
class IngestedEvents(ReadRows):
    """What `ingest_events` leaves."""

    accepted: int
    newest: str
    """Time of the newest event, ISO 8601, UTC."""
    kinds: list[str]
    """Kinds of events of a positive weight, sorted."""
    non_positive: dict[str, int] = field(default_factory=dict)
    """Accepted events of weight 0 or less by kind: they are not learned, counted or predicted."""
    weightless: bool = False
    """No event has a positive weight, so events of weight 0 count as 1."""
    parts: list[str]
    """Parquet files with the accepted events."""
    feedback: int = 0
    """Accepted events of the live service."""
    feedback_repeats: int = 0
    """Events of the live service that came more than once."""


@dataclass(frozen=True, kw_only=True)
class ValidationUsers:
    """From which users the validation users are drawn."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    days: int
    """They were active in so many days before the cutoff."""
    shares: list[float]
    """Share of them that is drawn, by the length of their history, see `recsys.pipeline.run.LENGTH_BOUNDS`."""


@dataclass(frozen=True, kw_only=True)
class ShuffledHistories(StageRecord):
    """What `shuffle_histories` leaves."""

    users: int
    held_out_users: int
    """Users with events in the holdout."""
    searches: int
    duplicates: int
    non_positives: int = 0
    """Events of weight 0 or less, without duplicates."""
    validation: ValidationUsers
    oldest: str
    """Time of the oldest event, ISO 8601, UTC."""
    shards: list[str]
    """Names of the shards, sorted; users are in them by a hash of their id."""
    path: str


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
    """Whether the night trains, see `recsys.pipeline.training_budget`; None: not settled."""
    reused: str = ""
    """Why the model is used as it is."""
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
    """Why the published model is used as it is; empty: it was trained."""


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


@dataclass(frozen=True, kw_only=True)
class WrittenLists(StageRecord):
    """What `recommend` leaves; `rows` are its users."""

    users: int
    users_without_list: int
    recommendations: int
    """Rows of all lists."""
    filtered: dict[str, int]
    """Items of the catalog by what the item rules did, see `recsys.ranking.recommendable.Recommendable`."""
    reranked: RerankCounts
    shards: int
    resumed_shards: int
    """Shards that an earlier start of the night had written."""
    path: str


@dataclass(frozen=True, kw_only=True)
class WrittenShard:
    """What `recommend` leaves of one shard."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    """File of the lists, below their folder."""
    rows: int
    users: int
    """Users with a list."""
    bytes: int
    sha256: str
    users_without_list: int
    reranked: RerankCounts
    seconds: float
    peak_memory_mb: float


@dataclass(frozen=True, kw_only=True)
class CheckedLists(StageRecord):
    """What `check_written_lists` leaves; `rows` are those of all lists."""

    verdict: Literal["passed", "refused"]
    reason: str
    compared_with: str
    """Run id of the night before, or why there is none to compare with."""
    figures: NightFigures
    checks: list[CheckResult]
    concentration: Concentration | None = None
    """How unequally the lists show the catalog; older records do not have this and what follows."""
    scores: ScoreCounts | None = None
    overlap: ListOverlap | None = None
    """What stayed of the lists of the night before; None: there are none to compare with."""


@dataclass(frozen=True, kw_only=True)
class PublishedLists(StageRecord):
    """What `publish_lists` leaves."""

    path: str
    latest: bool
    """Whether LATEST points to these lists."""
    manifest_sha256: str
