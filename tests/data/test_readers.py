import datetime as dt
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.config import TableInput
from recsys.data.files.readers import Chunk, read_chunks
from recsys.errors import InputError
from recsys.schema import QUARANTINE

FS = fsspec.filesystem("file")


def chunks(path: Path, form: str = "csv", span: tuple[int, int] | None = None) -> list[Chunk]:
    found = list(read_chunks(FS, str(path), TableInput(path="unused", format=form), span))
    assert all(chunk.malformed.schema == QUARANTINE for chunk in found)
    return found


def read(path: Path, content: bytes, form: str = "csv") -> list[dict[str, Any]]:
    path.write_bytes(content)
    return [row for chunk in chunks(path, form) for row in chunk.table.to_pylist()]


def test_chunks_are_bounded_and_keep_the_order(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,pad\n" + "".join(f"{row},{'x' * 90}\n" for row in range(100_000)))

    found = chunks(tmp_path / "a.csv")

    assert max(chunk.table.num_rows for chunk in found) <= 65_536
    assert [int(n) for chunk in found for n in chunk.table["n"].to_pylist()] == list(range(100_000))


def test_malformed_lines_are_divided_as_the_rows_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,pad\n" + ("1,x\n" * 99 + "1,x,y\n") * 2000)

    found = chunks(tmp_path / "a.csv")

    assert sum(len(chunk.malformed) for chunk in found) == 2000
    assert all(len(chunk.malformed) == pytest.approx(chunk.table.num_rows / 99, abs=1) for chunk in found)


def test_parts_of_a_chunk_have_all_malformed_lines_together_and_the_first_has_one() -> None:
    malformed = pa.Table.from_pylist(
        [{"source": "a.csv", "row": str(line), "column": "", "reason": "malformed_row"} for line in range(2)],
        QUARANTINE,
    )
    chunk = Chunk(table=pa.table({"n": range(1000)}), malformed=malformed)
    parts = [chunk.part(start, start + 100) for start in range(0, 1000, 100)]
    assert [len(part.malformed) for part in parts] == [1, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert pa.concat_tables([part.malformed for part in parts]) == malformed
    empty = Chunk(table=pa.table({}), malformed=malformed).part(0, 0)
    assert (empty.table.num_rows, len(empty.malformed)) == (0, 2)


def test_a_file_with_only_a_broken_line_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a":')

    (chunk,) = chunks(tmp_path / "a.jsonl", "jsonl")

    assert (chunk.table.num_rows, len(chunk.malformed)) == (0, 1)


def test_parquet_keeps_types_and_reads_chosen_row_groups(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(100)), "day": [dt.date(2020, 1, 1)] * 100})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)

    everything = chunks(tmp_path / "a.parquet", "parquet")
    some = chunks(tmp_path / "a.parquet", "parquet", span=(2, 4))

    assert pa.concat_tables([chunk.table for chunk in everything]) == table
    assert [n for chunk in some for n in chunk.table["n"].to_pylist()] == list(range(20, 40))


def test_parquet_view_types_become_plain(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array(["x", "y"], pa.string_view())}), tmp_path / "a.parquet")

    (chunk,) = chunks(tmp_path / "a.parquet", "parquet")

    assert chunk.table.filter(pa.array([False, True])).to_pylist() == [{"a": "y"}]


def test_parquet_view_types_become_plain_in_nested_columns(tmp_path: Path) -> None:
    """Programs of Arrow's Rust library write them. A column that nobody names must not stop the others."""
    view = pa.string_view()
    nested = {
        "tags": pa.array([["x"], ["y", "z"]], pa.list_(view)),
        "maker": pa.array([{"name": "A"}, {"name": "B"}], pa.struct([("name", view)])),
        "facts": pa.array([[("k", "v")], None], pa.map_(view, view)),
    }
    pq.write_table(pa.table(nested), tmp_path / "a.parquet")

    (chunk,) = chunks(tmp_path / "a.parquet", "parquet")

    assert chunk.table.filter(pa.array([False, True])).to_pylist() == [
        {"tags": ["y", "z"], "maker": {"name": "B"}, "facts": None, "maker.name": "B"}
    ]


def test_old_timestamps_of_parquet_hold_all_years(tmp_path: Path) -> None:
    """Spark and Impala write INT96; tables write 9999-12-31 for "still valid"."""
    texts = ["9999-12-31 00:00:00", "2026-11-20 08:15:00.000005", "0001-01-01 00:00:00", None]
    table = pa.table({"at": pa.array(texts).cast(pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)

    (chunk,) = chunks(tmp_path / "a.parquet", "parquet")

    assert chunk.table == table


def test_a_cut_parquet_file_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": list(range(1000))}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()

    with pytest.raises(InputError, match=r"a\.parquet"):
        read(tmp_path / "a.parquet", whole[: len(whole) // 2], "parquet")


def test_the_fields_of_a_parquet_struct_are_columns(tmp_path: Path) -> None:
    users = [{"id": "a", "at": {"city": "Rome"}}, None]
    pq.write_table(pa.table({"user": users, "n": [1, 2]}), tmp_path / "a.parquet")

    (chunk,) = chunks(tmp_path / "a.parquet", "parquet")

    assert chunk.table["user.id"].to_pylist() == ["a", None]
    assert chunk.table["user.at.city"].to_pylist() == ["Rome", None]
