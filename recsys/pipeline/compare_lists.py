"""How much of the users' lists stays from the published night to this one."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.splits import validation_users
from recsys.errors import InputError
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


def comparable_lists(run: Run) -> Latest | None:
    """The published lists that tonight's are compared with user by user; None where there are none in the same shards.

    The night before is that of `night_before`.
    """
    latest = read_latest(run.storage)
    if latest is None or latest.run_id == run.folder.run_id or latest.run_date > run.date:
        return None
    try:
        shards = {shard["name"] for shard in read_manifest(run.storage, latest)["shards"]}
    except InputError:
        return None  # `night_before` says so
    own = {shard.name for shard in run.parts(WRITE_LISTS, WrittenShard).values()}
    return latest if shards == own else None


def compared_share(users: int) -> float:
    """Share of the users that is compared, by hash."""
    return min(1.0, MOST_COMPARED / max(users, 1))


def compare_shard(run: Run, before: Latest, name: str, share: float) -> list[float]:
    """See `shared_places`, for the compared users of one file of lists; nobody where the old lists cannot be read."""
    tonight = _first_places(run, f"{lists_folder(run.folder)}/{name}", share)
    try:
        then = _first_places(run, f"{before.path}/{name}", share)
    except InputError as error:
        logger.warning("%s: the lists are not compared with those of the night before", error)
        return []
    shares: list[float] = shared_places(tonight, then).tolist()
    return shares


def _first_places(run: Run, path: str, share: float) -> pa.Table:
    """`user_id` and `item_id` of the first places of the compared users."""

    def batches() -> Iterator[pa.Table]:
        for batch in iter_batches(run.storage, path, _BATCH_ROWS, ["user_id", "rank", "item_id"]):
            batch = batch.filter(pc.less_equal(batch["rank"], PLACES)).select(["user_id", "item_id"])
            yield batch.filter(pa.array(validation_users(batch["user_id"], share, run.config.seed)))

    lists = RECOMMENDATIONS.empty_table().select(["user_id", "item_id"])
    return pa.concat_tables([lists, *(batch.cast(lists.schema) for batch in batches())])


def as_overlap(before: Latest | None, shares: Sequence[float]) -> ListOverlap | None:
    """The shares of all compared users together; None where nobody was compared."""
    if before is None or not shares:
        return None
    values = np.array(shares)
    mean = round(float(values.mean()), 4)
    return ListOverlap(run_id=before.run_id, users=len(values), mean=mean, tenths=count_tenths(values))
