import gzip
import random
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.config import Format
from recsys.data.estimates import SAMPLE_BYTES, SAMPLE_FILES, estimate_rows
from recsys.data.files import list_files
from recsys.errors import InputError

FS = fsspec.filesystem("file")


def estimate(folder: Path, form: Format) -> int:
    return estimate_rows(FS, list_files(FS, str(folder), form), form)


def csv(num_rows: int, seed: int = 0) -> bytes:
    dice = random.Random(seed)  # noqa: S311 - rows, not secrets
    rows = [
        f"u{dice.randrange(10**5)},i{dice.randrange(10**4)},2026-11-{dice.randrange(1, 23):02}\n"
        for _ in range(num_rows)
    ]
    return ("user_id,item_id,timestamp\n" + "".join(rows)).encode()


def jsonl(num_rows: int, seed: int = 0) -> bytes:
    dice = random.Random(seed)  # noqa: S311 - rows, not secrets
    rows = [f'{{"user_id":"u{dice.randrange(10**5)}","item_id":"i{dice.randrange(10**4)}"}}\n' for _ in range(num_rows)]
    return "".join(rows).encode()


def test_parquet_is_counted_exactly(tmp_path: Path) -> None:
    for number, num_rows in enumerate([1, 1_000, 77]):
        pq.write_table(pa.table({"n": list(range(num_rows))}), tmp_path / f"{number}.parquet")

    assert estimate(tmp_path, "parquet") == 1_078


@pytest.mark.parametrize(("form", "content"), [("csv", csv), ("jsonl", jsonl)])
@pytest.mark.parametrize("num_rows", [10, 20_000])
@pytest.mark.parametrize("ending", ["", ".gz", ".GZ"])
def test_text_is_told_within_a_fifth(
    tmp_path: Path, form: Format, content: Callable[[int], bytes], num_rows: int, ending: str
) -> None:
    data = content(num_rows)
    (tmp_path / f"a.{form}{ending}").write_bytes(gzip.compress(data) if ending else data)

    assert estimate(tmp_path, form) == pytest.approx(num_rows, rel=0.2)


def test_gzip_members_one_after_the_other_are_told_within_a_fifth(tmp_path: Path) -> None:
    members = [gzip.compress(jsonl(500, seed)) for seed in range(40)]
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(members))

    assert estimate(tmp_path, "jsonl") == pytest.approx(20_000, rel=0.2)


def test_many_files_are_told_by_a_few_of_them(tmp_path: Path) -> None:
    num_files = 5 * SAMPLE_FILES
    for number in range(num_files):
        (tmp_path / f"{number:03}.csv").write_bytes(csv(100 + number, number))
    real = sum(100 + number for number in range(num_files))

    assert estimate(tmp_path, "csv") == pytest.approx(real, rel=0.2)


@pytest.mark.parametrize("content", [b"", b"user_id,item_id,timestamp\n"])
def test_no_rows_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)

    assert estimate(tmp_path, "csv") == 0


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(1_000))}), tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    packed = gzip.compress(csv(1_000))
    assert len(packed) < SAMPLE_BYTES
    (tmp_path / "cut.csv.gz").write_bytes(packed[:-9])
    (tmp_path / "plain.csv.gz").write_bytes(csv(10))
    (tmp_path / "garbled.csv.gz").write_bytes(packed[:500] + b"\xff" * 500 + packed[1_000:])

    for name, form in [
        ("cut.parquet", "parquet"),
        ("cut.csv.gz", "csv"),
        ("plain.csv.gz", "csv"),
        ("garbled.csv.gz", "csv"),
    ]:
        with pytest.raises(InputError, match=name):
            estimate(tmp_path / name, form)
