"""The baskets of a run in files, one for each shard of histories: written once, read by each training worker."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.stored.item_ids import read_item_ids
from recsys.pipeline.stored.shard_tables import read_interactions
from recsys.pipeline.workers.cluster import for_each_part
from recsys.storage.tables import read_table, write_table
from recsys.training.basket_examples import BASKETS, HELD_OUT_TARGETS, baskets_of, held_out_targets
from recsys.training.basket_sampling import Baskets


def write_baskets(run: Run) -> tuple[int, int]:
    """Write the baskets before the cutoff, without those that are kept out; returns the number of users of both."""
    histories = run.record(SHUFFLE_HISTORIES)
    records = for_each_part(histories.shards, partial(_writer, run), label="baskets", rows=histories.rows)
    return sum(record["baskets"] for record in records), sum(record["targets"] for record in records)


def _writer(run: Run) -> Callable[[str], Record]:
    item_ids = read_item_ids(run)
    most = run.config.train.max_events_per_user

    def write(shard: str) -> Record:
        interactions = read_interactions(run, shard)
        learned, kept_out = run.validation_split(interactions)
        baskets = baskets_of(learned, item_ids, most)
        targets = held_out_targets(learned, kept_out, item_ids, run.config.histories.max_length)
        write_table(run.storage, f"{_folder(run)}/{shard}.parquet", baskets, BASKETS)
        write_table(run.storage, f"{_folder(run)}/{shard}.targets.parquet", targets, HELD_OUT_TARGETS)
        return {"baskets": len(baskets), "targets": len(targets)}

    return write


def read_baskets(run: Run) -> tuple[int, Baskets]:
    """The number of items of the catalog, and the baskets of all users."""
    catalog_size = len(read_item_ids(run))
    items = _read(run, "", BASKETS)["items"].combine_chunks()
    offsets = np.concatenate([[0], np.cumsum(np.asarray(items.value_lengths(), np.int64))]).astype(np.int64)
    return catalog_size, Baskets(offsets, np.asarray(items.flatten(), np.int64))


def read_targets(run: Run) -> pa.Table:
    """HELD_OUT_TARGETS of all validation users."""
    return _read(run, ".targets", HELD_OUT_TARGETS)


def _read(run: Run, kind: str, schema: pa.Schema) -> pa.Table:
    shards = run.record(SHUFFLE_HISTORIES).shards
    tables = [read_table(run.storage, f"{_folder(run)}/{shard}{kind}.parquet") for shard in shards]
    return pa.concat_tables([schema.empty_table(), *tables])


def _folder(run: Run) -> str:
    return f"{run.folder.dir}/baskets"
