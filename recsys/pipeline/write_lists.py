"""The lists of every user, shard by shard over a pool of workers."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from recsys.pipeline.cluster import for_each_part
from recsys.pipeline.item_rules import count_filtered
from recsys.pipeline.list_records import WrittenLists, WrittenShard
from recsys.pipeline.load_variants import load_variants
from recsys.pipeline.memory import peak_memory_mb
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES, WRITE_LISTS
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.variants import recommend_variants
from recsys.schema import RECOMMENDATIONS
from recsys.storage.manifest import lists_folder
from recsys.storage.tables import iter_batches, write_table

logger = logging.getLogger(__name__)

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
    config = run.config.recommend
    for_each_part(
        missing,
        partial(_list_writer, run),
        label="recommend",
        rows=run.record(SHUFFLE_HISTORIES).rows,
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=int(config.use_gpu),
    )
    records = run.parts(WRITE_LISTS, WrittenShard)
    assert sorted(records) == sorted(shards), "a shard has no lists"
    return WrittenLists(
        rows=sum(record.users for record in records.values()),
        users=sum(record.users for record in records.values()),
        users_without_list=sum(record.users_without_list for record in records.values()),
        recommendations=sum(record.rows for record in records.values()),
        filtered=filtered,
        reranked=RerankCounts.sum(record.reranked for record in records.values()),
        shards=len(records),
        resumed_shards=len(shards) - len(missing),
        path=lists_folder(run.folder),
        peak_memory_mb=max(record.peak_memory_mb for record in records.values()),
    )


def _list_writer(run: Run) -> Callable[[str], Record]:
    config = run.config.recommend
    variants = load_variants(run, run.published_id, config)

    def write(shard: str) -> Record:
        start = time.monotonic()
        users = with_list = 0
        reranked = RerankCounts()

        def lists() -> Iterator[pa.Table]:
            nonlocal users, with_list, reranked
            path = f"{run.folder.histories_dir}/{shard}.parquet"
            for histories in iter_batches(run.storage, path, config.batch_size):
                recommended = recommend_variants(variants, histories, config)
                users += len(histories)
                with_list += pc.count_distinct(recommended.lists["user_id"]).as_py()
                reranked += recommended.counts
                yield recommended.lists

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
            reranked=reranked,
            seconds=round(time.monotonic() - start, 3),
            peak_memory_mb=peak_memory_mb(),
        )
        run.remember_part(WRITE_LISTS, shard, record)
        return {"rows": record.rows}

    return write
