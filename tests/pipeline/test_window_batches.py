"""A worker's windows: in memory and streamed by Ray Data they are the same batches in the same order."""

import pyarrow as pa
import pytest
import ray.data
import torch

from recsys.pipeline.training.window_batches import WindowReader, WindowsInMemory, WindowsStreamed
from recsys.pipeline.training.windows import Windows
from recsys.training.window_batch import WindowBatch
from tests.training.test_loop import windows

NUM_ITEMS, LENGTH = 100, 3
CPU = torch.device("cpu")
READER = WindowReader(NUM_ITEMS, LENGTH, CPU, None)


def cells(batches: list[WindowBatch]) -> list[list[list[list[float]]]]:
    names = ("items", "gaps", "events", "targets", "weights")
    return [[getattr(batch, name).tolist() for name in names] for batch in batches]


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_windows_in_memory_and_streamed_are_the_same(ray_cluster: None, seed: int | None) -> None:
    rows = [[row, row + 1, row + 2][: 2 + row % 2] for row in range(13)]
    tables = [windows(rows[start:stop]) for start, stop in ((0, 5), (5, 5), (5, 13))]
    cut = Windows(tables=[ray.put(table) for table in tables], count=len(rows))
    streamed = WindowsStreamed(cut.dataset().iterator(), READER)
    collected = WindowsInMemory.collect(cut.dataset().iterator(), READER)
    fetched = WindowsInMemory.fetch(cut.tables, READER)
    for _epoch in range(2):
        expected = cells(list(streamed.batches(4, seed)))
        assert cells(list(fetched.batches(4, seed))) == expected
        assert cells(list(collected.batches(4, seed))) == expected
        assert [len(batch[0]) for batch in expected] == [4, 4, 4, 1]
    items = [row[0] for batch in expected for row in batch[0]]
    assert sorted(items) == list(range(13))
    assert (items == list(range(13))) == (seed is None)


def test_a_worker_may_have_no_window(ray_cluster: None) -> None:
    empty = READER.schema.empty_table()
    for tables in ([], [empty, empty]):
        cut = Windows(tables=[ray.put(table) for table in tables], count=0)
        assert list(WindowsInMemory.fetch(cut.tables, READER).batches(4, 0)) == []


def test_windows_of_a_slice_are_its_rows() -> None:
    table = pa.concat_tables([windows([[row, row + 1]]) for row in range(6)])
    batch = READER.batch([table.slice(2, 3)])
    assert batch.items[:, 0].tolist() == [2, 3, 4]
    assert batch.at(torch.tensor([2, 0])).targets[:, 0].tolist() == [5, 3]
    assert len(batch.at(slice(1, 9))) == 2
