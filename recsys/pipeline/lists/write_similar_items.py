"""The table of similar items: for every item of the catalog the items that go with it, part by part over workers."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from recsys.pipeline.list_records import WrittenSimilarItems, WrittenTableFile
from recsys.pipeline.run import Record, Run
from recsys.pipeline.scoring.load_snapshot import load_snapshot
from recsys.pipeline.stages import INGEST_CATALOG, WRITE_SIMILAR_ITEMS
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.ranking.similar_items import of_related_items, similar_items
from recsys.schema import SIMILAR_ITEMS
from recsys.storage.manifest import table_folder
from recsys.storage.tables import write_table

#: Items of a part: one file, and a second or so of a worker.
ITEMS_PER_PART = 4096
#: An item costs about as much as the list of a user, who has some events.
EVENTS_PER_ITEM = 10
TABLE = "similar_items"


def write_similar_items(run: Run) -> WrittenSimilarItems:
    """Write the similar items of every item; a part that was written before is not written again."""
    num_items = run.record(INGEST_CATALOG).items
    parts = [f"shard-{number:05d}" for number in range(-(-num_items // ITEMS_PER_PART))]
    done = run.parts(WRITE_SIMILAR_ITEMS, WrittenTableFile)
    config = run.config.recommend
    finished = for_each_part(
        [part for part in parts if part not in done],
        partial(_writer, run, num_items),
        label="similar items",
        rows=num_items * EVENTS_PER_ITEM,
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=int(config.use_gpu),
    )
    files = run.parts(WRITE_SIMILAR_ITEMS, WrittenTableFile)
    assert sorted(files) == parts, "a part has no similar items"
    return WrittenSimilarItems(
        rows=num_items,
        pairs=sum(file.rows for file in files.values()),
        files=len(files),
        path=table_folder(run.folder, TABLE),
        peak_memory_mb=peak_of(finished),
    )


def _writer(run: Run, num_items: int) -> Callable[[str], Record]:
    config = run.config.recommend
    night = of_related_items(load_snapshot(run, run.published_id, config, "full"))

    def write(part: str) -> Record:
        first = int(part.removeprefix("shard-")) * ITEMS_PER_PART
        everything = np.arange(first, min(first + ITEMS_PER_PART, num_items))

        def tables() -> Iterator[pa.Table]:
            for start in range(0, len(everything), config.batch_size):
                items = everything[start : start + config.batch_size]
                yield similar_items(night, items, config, run.config.similar_items.top_k)

        name = f"{part}.parquet"
        stats = write_table(run.storage, f"{table_folder(run.folder, TABLE)}/{name}", tables(), SIMILAR_ITEMS)
        file = WrittenTableFile(name=name, rows=stats.rows, bytes=stats.bytes, sha256=stats.sha256)
        run.remember_part(WRITE_SIMILAR_ITEMS, part, file)
        return {"rows": file.rows}

    return write
