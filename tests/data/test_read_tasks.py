import itertools
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.config import TableInput
from recsys.data.files.find_files import list_files
from recsys.data.files.read_tasks import FILE_BYTES, ReadTask, plan_reads
from recsys.data.files.readers import read_chunks
from recsys.data.formats.input_format import FileInfo, Span
from recsys.errors import InputError

FS = fsspec.filesystem("file")


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30), st.integers(1, 300))
def test_tasks_hold_every_file_once_in_order(sizes: list[int], target: int) -> None:
    files = [FileInfo(path=f"f{index:03}", size=size, version="") for index, size in enumerate(sizes)]

    tasks = plan_reads(FS, files, "csv", target + FILE_BYTES)

    assert [path for task in tasks for path in task.files] == [file.path for file in files]
    assert [task.index for task in tasks] == list(range(len(tasks)))
    assert sum(task.num_bytes for task in tasks) == sum(sizes)
    assert all(cost(task) <= target + FILE_BYTES or len(task.files) == 1 for task in tasks)
    assert all(cost(a) + cost(b) > target + FILE_BYTES for a, b in itertools.pairwise(tasks))


def cost(task: ReadTask) -> int:
    return task.num_bytes + FILE_BYTES * len(task.files)


def test_small_files_share_a_task_but_not_thousands() -> None:
    files = [FileInfo(path=f"f{index:05}", size=300, version="") for index in range(10_000)]

    tasks = plan_reads(FS, files, "jsonl")

    assert len(tasks) == 20
    assert max(len(task.files) for task in tasks) == 510


def test_a_task_says_which_files_it_reads() -> None:
    def label(*files: str, span: Span | None = None) -> str:
        return ReadTask(index=0, files=files, span=span, num_bytes=0, pieces={}).label

    assert label("a.csv") == "a.csv"
    assert label("a.csv", "b.csv", "c.csv") == "a.csv and 2 more"
    assert label("a.csv", span=(0, 100)) == "a part of a.csv"


def test_a_compressed_file_counts_by_its_content() -> None:
    plain, packed = (
        [FileInfo(path=f"f{index:03}{ending}", size=10 << 20, version="") for index in range(12)]
        for ending in (".csv", ".csv.gz")
    )

    assert len(plan_reads(FS, plain, "csv")) == 2
    assert len(plan_reads(FS, packed, "csv")) == 12


def test_a_large_parquet_file_is_cut_by_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": list(range(10_000))}), path, row_group_size=1_000, compression="none")
    files = list_files(FS, str(tmp_path), "parquet")

    tasks = plan_reads(FS, files, "parquet", files[0].size // 4)

    spec = TableInput(path="unused", format="parquet")
    spans = [task.span for task in tasks]
    assert len(tasks) >= 4
    assert [index for span in spans if span for index in range(*span)] == list(range(10))
    assert [
        n for span in spans for chunk in read_chunks(FS, str(path), spec, span) for n in chunk.table["n"].to_pylist()
    ] == list(range(10_000))


def test_a_large_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(10_000))}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(InputError, match=r"a\.parquet"):
        plan_reads(FS, list_files(FS, str(tmp_path), "parquet"), "parquet", 100)
