import gzip
import random
from pathlib import Path

import fsspec
import pytest

from recsys.data.files.compression import SAMPLE_BYTES
from recsys.data.files.estimates import SAMPLE_FILES, estimate_rows
from recsys.data.files.find_files import list_files
from recsys.errors import InputError

FS = fsspec.filesystem("file")


def estimate(folder: Path, form: str) -> int:
    return estimate_rows(FS, list_files(FS, str(folder), form), form)


def csv(num_rows: int, seed: int = 0) -> bytes:
    dice = random.Random(seed)  # noqa: S311 - rows, not secrets
    rows = [
        f"u{dice.randrange(10**5)},i{dice.randrange(10**4)},2026-11-{dice.randrange(1, 23):02}\n"
        for _ in range(num_rows)
    ]
    return ("user_id,item_id,timestamp\n" + "".join(rows)).encode()


def test_gzip_members_one_after_the_other_are_estimated_within_a_fifth(tmp_path: Path) -> None:
    members = [gzip.compress(csv(500, seed)) for seed in range(40)]
    (tmp_path / "a.csv.gz").write_bytes(b"".join(members))

    assert estimate(tmp_path, "csv") == pytest.approx(20_000, rel=0.2)


def test_many_files_are_estimated_by_a_few_of_them(tmp_path: Path) -> None:
    num_files = 5 * SAMPLE_FILES
    for number in range(num_files):
        (tmp_path / f"{number:03}.csv").write_bytes(csv(100 + number, number))
    real = sum(100 + number for number in range(num_files))

    assert estimate(tmp_path, "csv") == pytest.approx(real, rel=0.2)


def test_files_without_rows_count_as_zero(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"user_id,item_id,timestamp\n")

    assert estimate(tmp_path, "csv") == 0


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    packed = gzip.compress(csv(1_000))
    assert len(packed) < SAMPLE_BYTES
    (tmp_path / "garbled.csv.gz").write_bytes(packed[:500] + b"\xff" * 500 + packed[1_000:])

    with pytest.raises(InputError, match=r"garbled\.csv\.gz"):
        estimate(tmp_path, "csv")
