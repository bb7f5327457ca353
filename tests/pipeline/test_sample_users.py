"""The users on the page of a night: what is shown of them, and how much of the catalog is in memory for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa

from recsys.pipeline.lists.sample_users import sample_users
from recsys.pipeline.run import Run
from recsys.schema import CATALOG, HISTORIES, RECOMMENDATIONS
from recsys.storage.manifest import lists_folder
from recsys.storage.tables import write_table

#: Items with long attributes: 24 MB in all.
NUM_ITEMS, LENGTH = 60_000, 400


@contextmanager
def counted_memory() -> Iterator[pa.MemoryPool]:
    """Where Arrow's tables of the block are."""
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        yield pool
    finally:
        pa.set_memory_pool(usual)


def test_few_titles_take_little_memory(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]) -> None:
    run = make_night(draw_events(20, 20))
    ids = [f"i{number:05}" for number in range(NUM_ITEMS)]
    rows = [
        {"item_id": item, "text": "", "available": True, "text_hash": "", "attributes": [("about", "x" * LENGTH)]}
        for item in ids
    ]
    rows[-1]["attributes"] = [("title", "The last one")]
    write_table(run.storage, run.catalog_path, pa.Table.from_pylist(rows, CATALOG), CATALOG, 8192)
    user = {"user_id": "u", "item_ids": [ids[0], ids[-1]], "timestamps": [datetime(2026, 11, 1, tzinfo=UTC)] * 2}
    history = user | {"events": ["view"] * 2, "weights": [1.0] * 2, "seen_item_ids": [ids[0], ids[-1]]}
    path = f"{run.folder.histories_dir}/shard-00000.parquet"
    write_table(run.storage, path, pa.Table.from_pylist([history], HISTORIES), HISTORIES)
    place = {"user_id": "u", "rank": 1, "item_id": ids[1], "score": -1.0, "source": "ranker", "reason": "r"}
    table = pa.Table.from_pylist([place | {"variant": ""}], RECOMMENDATIONS)
    write_table(run.storage, f"{lists_folder(run.folder)}/shard-00000.parquet", table, RECOMMENDATIONS)
    with counted_memory() as memory:
        (sample,) = sample_users(run)
    assert sample.history == ["The last one", ids[0]]
    assert [entry.title for entry in sample.recommended] == [ids[1]]
    assert memory.max_memory() < NUM_ITEMS * LENGTH / 2
