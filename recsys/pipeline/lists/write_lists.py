"""The lists of every user, shard by shard over a pool of workers."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import quarantined, rows_as_json
from recsys.pipeline.inputs.item_rules import count_filtered
from recsys.pipeline.list_records import WrittenLists, WrittenShard
from recsys.pipeline.lists.fallback_lists import failing_users_path, popular_lists, recommend_or_fall_back
from recsys.pipeline.lists.find_failing_users import FailingUsers, UserRange, find_failing_users, require_of_users
from recsys.pipeline.run import Record, Run
from recsys.pipeline.scoring.load_variants import load_variants
from recsys.pipeline.stages import SHUFFLE_HISTORIES, WRITE_LISTS
from recsys.pipeline.workers.cluster import Build, for_each_part
from recsys.pipeline.workers.memory import peak_memory_mb
from recsys.pipeline.workers.worker_failures import FailureKind, PartFailure
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.variants import recommend_variants
from recsys.schema import QUARANTINE, RECOMMENDATIONS
from recsys.storage.manifest import lists_folder
from recsys.storage.tables import iter_batches, read_table, write_table

logger = logging.getLogger(__name__)

#: Why a user is in quarantine.
REASONS = {FailureKind.WORKER_DIED: "worker_died", FailureKind.RAISED: "ranking_failed"}

#: The live service decodes a row group to answer for one of the hundred users in it: 0.9 ms of a core, 1.2 ms with
#: twice the rows, 10 ms with 65,536. Files are a quarter larger than with 65,536 rows, 3 % larger than with twice these
#: (tests/benchmarks/lookup.py).
ROWS_PER_ROW_GROUP = 2048


def recommend(run: Run) -> WrittenLists:
    """Write the list of every user; a shard that was written before is not written again."""
    shards = run.record(SHUFFLE_HISTORIES).shards
    done = run.parts(WRITE_LISTS, WrittenShard)
    missing = [shard for shard in shards if shard not in done]
    if done:
        logger.info("recommend: %d of %d shards were written before", len(shards) - len(missing), len(shards))
    filtered = count_filtered(run)
    config, failures = run.config.recommend, list[PartFailure]()
    _run_parts(run, missing, partial(_list_writer, run, {}), failures=failures)
    if require_of_users(failures):
        if not config.max_failed_users:
            raise failures[0].as_error("recommend", failures[0].part) from failures[0].error
        _write_without_failing_users(run, failures)
    records = run.parts(WRITE_LISTS, WrittenShard)
    assert sorted(records) == sorted(shards), "a shard has no lists"
    return WrittenLists(
        rows=sum(record.users for record in records.values()),
        users=sum(record.users for record in records.values()),
        users_without_list=sum(record.users_without_list for record in records.values()),
        fallback_users=sum(record.fallback_users for record in records.values()),
        reasons=dict(sorted(sum((Counter(record.reasons) for record in records.values()), Counter()).items())),
        recommendations=sum(record.rows for record in records.values()),
        filtered=filtered,
        reranked=RerankCounts.sum(record.reranked for record in records.values()),
        shards=len(records),
        resumed_shards=len(shards) - len(missing),
        path=lists_folder(run.folder),
        peak_memory_mb=max(record.peak_memory_mb for record in records.values()),
    )


def _run_parts(run: Run, parts: Sequence[str], build: Build, **options: Any) -> None:
    config = run.config.recommend
    for_each_part(
        parts,
        build,
        label="recommend",
        rows=run.record(SHUFFLE_HISTORIES).rows,
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=int(config.use_gpu),
        **options,
    )


def _write_without_failing_users(run: Run, failures: Sequence[PartFailure]) -> None:
    """Write shards that fail. The users by whom they fail get popular items, and are put into quarantine.

    Raises:
        EngineError: too many users fail, or a shard fails without a user that fails alone.
    """
    for failure in failures:
        logger.warning("recommend: %s: %s; looking for the users by whom it fails", failure.part, failure.kind)
    shards = {failure.part: len(_user_ids(run, failure.part)) for failure in failures}
    most = min(run.config.recommend.max_failed_users, max(1, run.record(SHUFFLE_HISTORIES).users // 100))
    failing = find_failing_users(shards, most, partial(_run_parts, run, build=partial(_range_prober, run)))
    num_failing = sum(map(len, failing.values()))
    logger.warning("recommend: %d users get popular items, because their lists cannot be made", num_failing)
    _run_parts(run, list(shards), partial(_list_writer, run, failing))


def _range_prober(run: Run) -> Callable[[str], Record]:
    """Makes the lists of a range of users, and keeps nothing."""
    config = run.config.recommend
    variants = load_variants(run, run.published_id, config)

    def probe(name: str) -> Record:
        place = UserRange.of(name)
        histories = read_table(run.storage, _histories_path(run, place.shard)).slice(
            place.start, place.stop - place.start
        )
        for start in range(0, len(histories), config.batch_size):
            recommend_variants(variants, histories.slice(start, config.batch_size), config)
        return {"rows": len(histories)}

    return probe


def _list_writer(run: Run, failing: Mapping[str, FailingUsers]) -> Callable[[str], Record]:
    config = run.config.recommend
    variants = load_variants(run, run.published_id, config)
    popular = popular_lists(run, variants, config)

    def write(shard: str) -> Record:
        start = time.monotonic()
        users = with_list = 0
        reranked = RerankCounts()
        own = failing.get(shard, {})

        def lists() -> Iterator[pa.Table]:
            nonlocal users, with_list, reranked
            for histories in iter_batches(run.storage, _histories_path(run, shard), config.batch_size):
                rows = [row - users for row in sorted(own) if 0 <= row - users < len(histories)]
                recommended = recommend_or_fall_back(variants, histories, config, rows, popular)
                users += len(histories)
                with_list += pc.count_distinct(recommended.lists["user_id"]).as_py()
                reranked += recommended.counts
                yield recommended.lists

        if own:
            _quarantine(run, shard, own)
        name = f"{shard}.parquet"
        stats = write_table(
            run.storage, f"{lists_folder(run.folder)}/{name}", lists(), RECOMMENDATIONS, ROWS_PER_ROW_GROUP
        )
        record = WrittenShard(
            name=name,
            rows=stats.rows,
            users=with_list,
            bytes=stats.bytes,
            sha256=stats.sha256,
            users_without_list=users - with_list,
            fallback_users=len(own),
            reasons=dict(Counter(REASONS[failure.kind] for failure in own.values())),
            reranked=reranked,
            seconds=round(time.monotonic() - start, 3),
            peak_memory_mb=peak_memory_mb(),
        )
        run.remember_part(WRITE_LISTS, shard, record)
        return {"rows": record.rows}

    return write


def _quarantine(run: Run, shard: str, failing: FailingUsers) -> None:
    """Write the histories of users who get popular items, each with the reason."""
    path = _histories_path(run, shard)
    rows = rows_as_json(read_table(run.storage, path).take(pa.array(sorted(failing))))
    reasons = [f"{REASONS[failing[row].kind]}: {failing[row].words}" for row in sorted(failing)]
    table = quarantined(path, rows, ["user_id"] * len(rows), reasons)
    write_table(run.storage, failing_users_path(run, shard), table, QUARANTINE)


def _histories_path(run: Run, shard: str) -> str:
    return f"{run.folder.histories_dir}/{shard}.parquet"


def _user_ids(run: Run, shard: str) -> pa.ChunkedArray:
    return read_table(run.storage, _histories_path(run, shard), ["user_id"])["user_id"]
