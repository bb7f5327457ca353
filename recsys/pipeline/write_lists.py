"""Lists for every user, shard by shard over a pool of workers; the ranking itself is in `recsys.ranking`."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import torch

from recsys.model.checkpoint import FUSION_FILE, load_ranker, read_card
from recsys.model.precision import dtype_of
from recsys.pipeline.cluster import for_each_part
from recsys.pipeline.count_priors import load_popularity, load_returns, load_transitions
from recsys.pipeline.encode_texts import read_text_vectors, read_user_text_vectors
from recsys.pipeline.item_rules import count_filtered, recommendable
from recsys.pipeline.learn_ease import load_linear
from recsys.pipeline.match_cold_items import load_lending
from recsys.pipeline.memory import peak_memory_mb
from recsys.pipeline.records import WrittenLists, WrittenShard
from recsys.pipeline.run import COUNTS_OF_VIEW, DataView, Record, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES, WRITE_LISTS
from recsys.ranking.config import RecommendConfig
from recsys.ranking.fusion import Fusion
from recsys.ranking.item_popularity import item_popularity
from recsys.ranking.lists import recommend_batch
from recsys.ranking.rerank import Reranker
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.snapshot import Snapshot
from recsys.schema import RECOMMENDATIONS
from recsys.signals.item_features import Beside
from recsys.signals.retrieve import unit_rows
from recsys.storage.manifest import lists_folder
from recsys.storage.tables import iter_batches, read_table, write_table

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
    snapshot = load_snapshot(run, run.published_id, config, "full")

    def write(shard: str) -> Record:
        start = time.monotonic()
        users = with_list = 0
        reranked = RerankCounts()

        def lists() -> Iterator[pa.Table]:
            nonlocal users, with_list, reranked
            path = f"{run.folder.histories_dir}/{shard}.parquet"
            for histories in iter_batches(run.storage, path, config.batch_size):
                recommended = recommend_batch(snapshot, histories, config)
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


def load_snapshot(
    run: Run, model_id: str, config: RecommendConfig, view: DataView, fusion: Fusion | None = None
) -> Snapshot:
    """A model of the warehouse over this night's catalog.

    Args:
        run: Whose catalog, transitions and popularity are taken.
        model_id: Its weights and, unless given, its fusion.
        config: Device and threads.
        view: From where the past is looked at.
        fusion: Weights of the signals; None: those that were fitted for the model.
    """
    device = "cuda" if config.use_gpu else "cpu"
    if not config.use_gpu:
        # a thread for each block of users, `cpus_per_worker` at a time: so scores do not hang on the number of threads
        torch.set_num_threads(1)
    with run.storage.local_folder(run.model_path(model_id), recursive=False) as folder:
        item_ids, text_vectors = read_text_vectors(run, read_card(folder).encoder_id)
        ranker, card = load_ranker(folder, item_ids, torch.from_numpy(text_vectors.copy()))
    catalog = read_table(run.storage, run.catalog_path, ["item_id", "available", "attributes"])
    counts = read_table(run.storage, run.item_counts_path(COUNTS_OF_VIEW[view][1]))
    rerank = run.config.rerank
    if view != "full":
        rerank = rerank.model_copy(update={"exploration": 0.0})  # the gate judges what is meant, not what is tried
    lending = load_lending(run, view)
    lending.id_embeddings(ranker)
    ranker = ranker.to(device)
    if config.use_gpu:
        ranker.decode_in(dtype_of(config.precision, torch.device(device)))
    with torch.inference_mode():
        directions = ranker.item_vectors().float().cpu().numpy()
    rules = recommendable(run, catalog)
    popularity = item_popularity(counts, item_ids)
    snapshot = Snapshot.build(
        ranker=ranker,
        item_ids=item_ids,
        titles=_titles(catalog),
        event_kinds=card.event_kinds,
        max_length=card.max_length,
        isolated=card.candidate_pass,
        beside=Beside(
            transitions=lending.neighbours(load_transitions(run, view)),
            linear=lending.neighbours(load_linear(run, view)),
            text_vectors=unit_rows(text_vectors),
            popularity=lending.popularity(load_popularity(run, view, item_ids)),
            returns=load_returns(run, view),
            recommendable=rules.mask,
            borrows=lending.borrows,
        ),
        fusion=fusion or read_fusion(run, model_id),
        reranker=Reranker.build(rerank, popularity, rules.mask, directions, run.config.seed, run.date, catalog),
        now=(run.end if view == "full" else run.cutoff).timestamp() * 1e6,
    )
    return snapshot.with_texts(read_user_text_vectors(run, card.encoder_id))


def read_fusion(run: Run, model_id: str) -> Fusion:
    """The weights of the signals that were fitted for a model."""
    path = fusion_path(run, model_id)
    assert run.storage.exists(path), f"{model_id} has no weights of the signals: the fuse stage has not run"
    return Fusion(**run.storage.read_json(path))


def fusion_path(run: Run, model_id: str) -> str:
    """Where the weights of the signals lie, beside the model's own."""
    return f"{run.model_path(model_id)}/{FUSION_FILE}"


def _titles(catalog: pa.Table) -> pa.Array:
    """[I] title of each item, its id where it has none."""
    titles = pa.chunked_array(
        [pc.map_lookup(chunk, pa.scalar("title"), "first") for chunk in catalog["attributes"].chunks], pa.string()
    )
    return pc.coalesce(titles, catalog["item_id"]).combine_chunks()
