"""What the stages of the lists leave behind, as JSON: from the written lists to the published ones.

A stored record that no longer fits its class is treated as missing: the stage runs again.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT
from recsys.evaluation.list_checks import CheckResult, NightFigures
from recsys.evaluation.list_overlap import ListOverlap
from recsys.evaluation.list_shape import Concentration, ScoreCounts
from recsys.pipeline.stage import StageRecord
from recsys.ranking.rerank_counts import RerankCounts


@dataclass(frozen=True, kw_only=True)
class WrittenLists(StageRecord):
    """What `recommend` leaves; `rows` are its users."""

    users: int
    users_without_list: int
    fallback_users: int = 0
    """Users who get popular items and are in quarantine: their worker died over them, or their lists failed."""
    reasons: dict[str, int] = field(default_factory=dict)
    """These users by the reason."""
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
    fallback_users: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """See `WrittenLists`."""
    reranked: RerankCounts
    seconds: float
    peak_memory_mb: float


@dataclass(frozen=True, kw_only=True)
class WrittenTableFile:
    """One file of a table that is published beside the lists."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    """Below the folder of the table."""
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class WrittenSimilarItems(StageRecord):
    """What `write_similar_items` leaves; `rows` are the items of the catalog."""

    pairs: int
    """Rows of the table."""
    files: int
    path: str


@dataclass(frozen=True, kw_only=True)
class CheckedLists(StageRecord):
    """What `check_written_lists` leaves; `rows` are those of all lists."""

    verdict: Literal["passed", "refused"]
    reason: str
    compared_with: str
    """Run id of the night before, or why there is none to compare with."""
    figures: NightFigures
    checks: list[CheckResult]
    item_places: str = ""
    """File of ITEM_PLACES; older records do not have it, and the lists of such a night are checked again."""
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
