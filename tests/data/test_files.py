import itertools
import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.config import TableInput
from recsys.data.files import FileInfo, list_files, num_row_groups, plan_splits
from recsys.data.readers import read_chunks
from recsys.errors import InputError

FS = fsspec.filesystem("file")


def test_a_folder_gives_its_files_of_the_format_sorted(tmp_path: Path) -> None:
    for name in ["b.csv", "a/z.CSV.gz", "c.json", "_tmp/x.csv", ".hidden.csv", "a/_SUCCESS", "m.inter", "p.parquet.gz"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a\n")

    def names(path: Path, form: Any) -> list[str]:
        return [str(Path(file.path).relative_to(tmp_path)) for file in list_files(FS, str(path), form)]

    assert names(tmp_path, "csv") == ["a/z.CSV.gz", "b.csv", "m.inter"]
    assert names(tmp_path, "jsonl") == ["c.json"]
    assert names(tmp_path / "c.json", "csv") == ["c.json"]
    assert names(tmp_path / "*.csv", "csv") == ["b.csv"]
    assert names(tmp_path / "*", "csv") == ["a/z.CSV.gz", "b.csv", "c.json", "m.inter", "p.parquet.gz"]
    with pytest.raises(InputError, match="no parquet file"):
        list_files(FS, str(tmp_path), "parquet")
    with pytest.raises(InputError, match="nowhere"):
        list_files(FS, str(tmp_path / "nowhere"), "csv")


def test_a_version_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    (before,) = list_files(FS, str(path), "csv")
    path.write_text("a\n2\n")
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))
    (after,) = list_files(FS, str(path), "csv")

    assert before.size == after.size == 4
    assert before.version != after.version


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30), st.integers(1, 300))
def test_splits_hold_every_file_once_in_order(sizes: list[int], target: int) -> None:
    files = [FileInfo(path=f"f{index:03}", size=size, version="") for index, size in enumerate(sizes)]

    splits = plan_splits(FS, files, "csv", target)

    assert [path for split in splits for path in split.files] == [file.path for file in files]
    assert [split.index for split in splits] == list(range(len(splits)))
    assert sum(split.num_bytes for split in splits) == sum(sizes)
    assert all(split.num_bytes <= target or len(split.files) == 1 for split in splits)
    assert all(a.num_bytes + b.num_bytes > target for a, b in itertools.pairwise(splits))


def test_small_files_share_a_split() -> None:
    files = [FileInfo(path=f"f{index:03}", size=150_000, version="") for index in range(305)]

    assert len(plan_splits(FS, files, "csv", 10_000_000)) == 5


def test_a_large_parquet_file_is_cut_by_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": list(range(10_000))}), path, row_group_size=1_000, compression="none")
    files = list_files(FS, str(tmp_path), "parquet")

    splits = plan_splits(FS, files, "parquet", files[0].size // 4)

    spec = TableInput(path="unused", format="parquet")
    groups = [split.row_groups for split in splits]
    assert len(splits) >= 4
    assert [index for group in groups if group for index in range(*group)] == list(range(10))
    assert [
        n for group in groups for chunk in read_chunks(FS, str(path), spec, group) for n in chunk.table["n"].to_pylist()
    ] == list(range(10_000))


def test_row_groups_are_counted_from_the_footer(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(100))}), tmp_path / "a.parquet", row_group_size=10)
    whole = (tmp_path / "a.parquet").read_bytes()

    assert num_row_groups(FS, str(tmp_path / "a.parquet")) == 10
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.parquet"):
        num_row_groups(FS, str(tmp_path / "a.parquet"))
