"""Lists for every user, shard by shard over a pool of actors; the ranking itself is in `recsys.recommend`."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import torch

from recsys.config import RecommendConfig
from recsys.distributed.cluster import for_each_part
from recsys.distributed.encode import read_text_vectors
from recsys.distributed.memory import peak_memory_mb
from recsys.distributed.night import CountsOf, Night, Record
from recsys.model.checkpoint import load_ranker
from recsys.recommend.pipeline import Snapshot, recommend_batch
from recsys.recommend.popular import popularity_prior
from recsys.schema import RECOMMENDATIONS
from recsys.storage.publish import night_folder
from recsys.storage.tables import iter_batches, read_table, write_table

logger = logging.getLogger(__name__)


def recommend(night: Night) -> Record:
    """Write the list of every user; a shard that was written before is not written again."""
    shards = night.record("histories")["shards"]
    done = night.run.parts("recommend")
    missing = [shard for shard in shards if shard not in done]
    if done:
        logger.info("recommend: %d of %d shards were written before", len(shards) - len(missing), len(shards))
    config = night.config.recommend
    for_each_part(
        missing,
        partial(_list_writer, night),
        label="recommend",
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=int(config.use_gpu),
    )
    records = night.run.parts("recommend")
    assert sorted(records) == sorted(shards), "a shard has no lists"
    return {
        "rows": sum(record["users"] for record in records.values()),
        "users": sum(record["users"] for record in records.values()),
        "users_without_list": sum(record["users_without_list"] for record in records.values()),
        "recommendations": sum(record["rows"] for record in records.values()),
        "shards": len(records),
        "resumed_shards": len(shards) - len(missing),
        "path": night_folder(night.run),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records.values()),
    }


def _list_writer(night: Night) -> Callable[[str], Record]:
    config = night.config.recommend
    snapshot = load_snapshot(night, night.model_id, config, "newest")

    def write(shard: str) -> Record:
        start = time.monotonic()
        users = with_list = 0

        def lists() -> Iterator[pa.Table]:
            nonlocal users, with_list
            path = f"{night.run.histories_dir}/{shard}.parquet"
            for histories in iter_batches(night.storage, path, config.batch_size):
                table = recommend_batch(snapshot, histories, config)
                users += len(histories)
                with_list += pc.count_distinct(table["user_id"]).as_py()
                yield table

        name = f"{shard}.parquet"
        stats = write_table(night.storage, f"{night_folder(night.run)}/{name}", lists(), RECOMMENDATIONS)
        record = {
            "name": name,
            "rows": stats.rows,
            "users": with_list,
            "bytes": stats.bytes,
            "sha256": stats.sha256,
            "users_without_list": users - with_list,
            "seconds": round(time.monotonic() - start, 3),
            "peak_memory_mb": peak_memory_mb(),
        }
        night.run.finish_part("recommend", shard, record)
        return record

    return write


def load_snapshot(night: Night, model_id: str, config: RecommendConfig, counts: CountsOf) -> Snapshot:
    """A model of the warehouse over this night's catalog, with the popularity of the days that `counts` names."""
    device = "cuda" if config.use_gpu else "cpu"
    if not config.use_gpu:
        torch.set_num_threads(config.cpus_per_worker)  # sums differ in the last bit with the number of threads
    item_ids, text_vectors = read_text_vectors(night)
    with night.storage.local_folder(night.model_path(model_id)) as folder:
        ranker, card = load_ranker(folder, item_ids, torch.from_numpy(text_vectors.copy()))
    available = read_table(night.storage, night.catalog_path, ["available"])["available"].combine_chunks()
    popularity = read_table(night.storage, night.item_counts_path(counts))
    prior = popularity_prior(popularity, item_ids, card.popularity_weight)
    return Snapshot.build(ranker.to(device), item_ids, available, card.event_kinds, card.max_length, prior)
