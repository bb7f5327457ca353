"""How much of the users' lists stays from the published night to this one."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.splits import validation_users
from recsys.errors import InputError, NewerFormatError
from recsys.evaluation.list_overlap import PLACES, ListOverlap, count_tenths, shared_places
from recsys.pipeline.list_records import WrittenShard
from recsys.pipeline.run import Run
from recsys.pipeline.stages import WRITE_LISTS
from recsys.schema import RECOMMENDATIONS
from recsys.storage.latest import Latest, read_latest
from recsys.storage.manifest import lists_folder, read_manifest
from recsys.storage.tables import iter_batches

logger = logging.getLogger(__name__)

#: About how many users are compared at most.
MOST_COMPARED = 50_000
#: Rows of lists that are read at a time.
_BATCH_ROWS = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsBefore:
    """The published lists that tonight's are compared with."""

    run_id: str
    path: str
    places: int
    """First places that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightBefore:
    """The published night that tonight's lists are compared with."""

    latest: Latest
    manifest: Mapping[str, Any]


def night_before(run: Run) -> NightBefore | str:
    """The night that LATEST names, or the reason why there is none to compare with.

    A night of a later date is none: an old night that is made up is compared with nothing.
    """
    latest = read_latest(run.storage)
    if latest is None or latest.run_id == run.folder.run_id:
        return "no night was published before"
    if latest.run_date > run.date:
        return f"the published night {latest.run_id} is of a later date"
    try:
        return NightBefore(latest=latest, manifest=read_manifest(run.storage, latest))
    except (InputError, NewerFormatError) as error:
        logger.warning("%s: the lists are not compared with the night before", error)
        return f"the manifest of {latest.run_id} cannot be read"


def comparable_lists(run: Run, before: NightBefore | str) -> ListsBefore | None:
    """The lists of the answer of `night_before`; None where there are none in the same shards."""
    if isinstance(before, str):
        return None
    latest, manifest = before.latest, before.manifest
    own = {shard.name for shard in run.parts(WRITE_LISTS, WrittenShard).values()}
    if {shard["name"] for shard in manifest["shards"]} != own:
        return None
    recommend = (manifest.get("config") or {}).get("recommend") or {}  # an older version may have left it out
    places = min(PLACES, run.config.recommend.top_k, recommend.get("top_k", PLACES))
    return ListsBefore(run_id=latest.run_id, path=latest.path, places=places)


def compared_share(users: int) -> float:
    """Share of the users that is compared, by hash."""
    return min(1.0, MOST_COMPARED / max(users, 1))


def compare_shard(run: Run, before: ListsBefore, name: str, share: float) -> list[float]:
    """See `shared_places`, for the compared users of one file of lists; nobody where the old lists cannot be read."""
    tonight = _first_places(run, f"{lists_folder(run.folder)}/{name}", share, before.places)
    try:
        then = _first_places(run, f"{before.path}/{name}", share, before.places)
    except InputError as error:
        logger.warning("%s: the lists are not compared with those of the night before", error)
        return []
    shares: list[float] = shared_places(tonight, then).tolist()
    return shares


def _first_places(run: Run, path: str, share: float, places: int) -> pa.Table:
    """`user_id` and `item_id` of the first places of the compared users."""

    def batches() -> Iterator[pa.Table]:
        for batch in iter_batches(run.storage, path, _BATCH_ROWS, ["user_id", "rank", "item_id"]):
            batch = batch.filter(pc.less_equal(batch["rank"], places)).select(["user_id", "item_id"])
            yield batch.filter(pa.array(validation_users(batch["user_id"], share, run.config.seed)))

    lists = RECOMMENDATIONS.empty_table().select(["user_id", "item_id"])
    return pa.concat_tables([lists, *(batch.cast(lists.schema) for batch in batches())])


def as_overlap(before: ListsBefore | None, shares: Sequence[float]) -> ListOverlap | None:
    """The shares of all compared users together; None where nobody was compared."""
    if before is None or not shares:
        return None
    values = np.array(shares)
    return ListOverlap(
        run_id=before.run_id,
        users=len(values),
        places=before.places,
        mean=round(float(values.mean()), 4),
        tenths=count_tenths(values),
    )
