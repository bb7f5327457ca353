import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from recsys.data.files import list_files
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
