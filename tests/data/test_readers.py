import codecs
import datetime as dt
import decimal
import gzip
import itertools
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.config import TableInput
from recsys.data.readers import (
    Chunk,
    FileInfo,
    list_files,
    num_row_groups,
    plan_splits,
    read_chunks,
    require_columns,
    rows_as_json,
)
from recsys.errors import ConfigError, InputError
from recsys.schema import QUARANTINE

FS = fsspec.filesystem("file")


def chunks(path: Path, form: str = "csv", **options: Any) -> list[Chunk]:
    row_groups = options.pop("row_groups", None)
    found = list(read_chunks(FS, str(path), TableInput(path="unused", format=form, **options), row_groups))  # type: ignore[arg-type]
    assert all(chunk.malformed.schema == QUARANTINE for chunk in found)
    return found


def read(path: Path, content: str | bytes, form: str = "csv", **options: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows, and (row, reason) of what was set aside."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = chunks(path, form, **options)
    rows = [row for chunk in found for row in chunk.table.to_pylist()]
    aside = [(json.loads(bad["row"]), bad["reason"]) for chunk in found for bad in chunk.malformed.to_pylist()]
    return rows, aside


# CSV


def test_csv_cells_are_texts_and_empty_ones_null(tmp_path: Path) -> None:
    rows, aside = read(tmp_path / "a.csv", 'a,b\r\n007,"x\n""y"", z"\r\n\r\n ,""\r\n')

    assert rows == [{"a": "007", "b": 'x\n"y", z'}, {"a": " ", "b": None}]
    assert aside == []


def test_csv_lines_with_another_number_of_fields_are_set_aside(tmp_path: Path) -> None:
    rows, aside = read(tmp_path / "a.csv", "a,b\n1,2\n3\n4,5,6\n7,8\n")

    assert rows == [{"a": "1", "b": "2"}, {"a": "7", "b": "8"}]
    assert aside == [({"raw": "3"}, "malformed_row"), ({"raw": "4,5,6"}, "malformed_row")]


@pytest.mark.parametrize("opening", ['3,"4', '"3,4'])
def test_a_quote_that_never_closes_is_counted_line_by_line(tmp_path: Path, opening: str) -> None:
    rows, aside = read(tmp_path / "a.csv", f"a,b\n1,2\n{opening}\n5,6\n7,8\n")

    assert rows == [{"a": "1", "b": "2"}]
    assert [reason for _, reason in aside] == ["malformed_row"] * 3
    assert aside[2][0] == {"raw": "7,8"}


def test_a_closed_quote_at_the_end_is_a_row(tmp_path: Path) -> None:
    rows, aside = read(tmp_path / "a.csv", 'a,b\n1,"x\ny"\n')

    assert (rows, aside) == ([{"a": "1", "b": "x\ny"}], [])


def test_broken_text_spoils_only_its_own_row(tmp_path: Path) -> None:
    rows, aside = read(tmp_path / "a.csv", b"a,b\n1,\xff\nok,\xc3\xa9\n3\xff\n4,5\n")

    assert rows == [{"a": "ok", "b": "é"}, {"a": "4", "b": "5"}]
    assert sorted(reason for _, reason in aside) == ["invalid_encoding", "malformed_row"]
    assert ({"a": "1", "b": "\ufffd"}, "invalid_encoding") in aside


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8-sig", "latin-1", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    rows, aside = read(tmp_path / "a.csv", "ä,b\né,ü\n".encode(encoding), encoding=encoding)

    assert (rows, aside) == ([{"ä": "é", "b": "ü"}], [])


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.csv", codecs.BOM_UTF8 + b"a\n1\n")

    assert rows == [{"a": "1"}]


@pytest.mark.parametrize("encoding", ["klingon", "rot13"])
def test_unknown_encodings(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ConfigError, match=encoding):
        read(tmp_path / "a.csv", "a\n1\n", encoding=encoding)


def test_recbole_types_leave_the_names(tmp_path: Path) -> None:
    typed, _ = read(tmp_path / "a.inter", "user_id:token\trating:float\n1\t2\n", delimiter="\t")
    other, _ = read(tmp_path / "a.inter", "user_id:token\trating:stars\n1\t2\n", delimiter="\t")

    assert typed == [{"user_id": "1", "rating": "2"}]
    assert other == [{"user_id:token": "1", "rating:stars": "2"}]


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\n\n\r\n", '"a",b\n'])
def test_a_header_alone_gives_no_rows_but_the_columns(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)

    (chunk,) = chunks(tmp_path / "a.csv")

    assert chunk.table.num_rows == 0
    assert chunk.table.column_names == ["a", "b"]


def test_gzip_goes_by_the_name(tmp_path: Path) -> None:
    packed = gzip.compress(("a,b\n" + "1,2\n" * 10).encode())

    assert len(read(tmp_path / "a.csv.gz", packed)[0]) == 10
    with pytest.raises(InputError, match=r"b\.csv\.gz"):
        read(tmp_path / "b.csv.gz", packed[:-9])
    with pytest.raises(InputError, match=r"c\.csv\.gz"):
        read(tmp_path / "c.csv.gz", b"a,b\n1,2\n")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv.*'x'"):
        read(tmp_path / "a.csv", "x,y,x\n1,2,3\n")


def test_chunks_are_bounded_and_keep_the_order(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,pad\n" + "".join(f"{row},{'x' * 90}\n" for row in range(100_000)))

    found = chunks(tmp_path / "a.csv")

    assert max(chunk.table.num_rows for chunk in found) <= 65_536
    assert [int(n) for chunk in found for n in chunk.table["n"].to_pylist()] == list(range(100_000))


_CELLS = st.text(st.characters(exclude_categories=["Cs", "Co", "Cn"], exclude_characters="\r\0"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), max_size=5))
def test_csv_round_trips(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in ("k", *row)) for row in rows]

    read_rows, aside = read(tmp_path / "a.csv", "\n".join(["k,a,b,c", *lines]) + "\n")

    assert aside == []
    assert [tuple(row.values()) for row in read_rows] == [("k", *(cell or None for cell in row)) for row in rows]


# JSON lines


def test_json_lines_of_one_mind_keep_their_types(tmp_path: Path) -> None:
    rows, aside = read(tmp_path / "a.jsonl", '{"a":"2010-01-01","b":1}\n\n{"b":2,"c":true}\n', "jsonl")

    assert rows == [{"a": "2010-01-01", "b": 1, "c": None}, {"a": None, "b": 2, "c": True}]
    assert aside == []


def test_bad_json_lines_are_set_aside_and_their_neighbours_kept(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"a":1}\nnope\n[1]\n{"a":"\xff"}\n{"a":"\\ud800"}\n{"a":2}\n{"a":'

    rows, aside = read(tmp_path / "a.jsonl", content, "jsonl")

    assert rows == [{"a": 1}, {"a": 2}]
    assert [reason for _, reason in aside] == ["malformed_row"] * 2 + ["invalid_encoding"] * 2 + ["malformed_row"]


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        (['{"a":1}', '{"a":"x"}', '{"a":true}', '{"a":null}'], ["1", "x", "true", None]),
        (['{"a":1}', '{"a":2.5}'], [1.0, 2.5]),
        (['{"a":{"b":[1]}}', '{"a":"x"}'], ['{"b": [1]}', "x"]),
        (['{"a":12345678901234567890}'], ["12345678901234567890"]),
        (['{"a":9007199254740993}', '{"a":0.5}'], ["9007199254740993", "0.5"]),
        (['{"a":"2010-01-01T00:00:00Z"}'], ["2010-01-01T00:00:00Z"]),
    ],
)
def test_values_without_a_common_type_become_texts(tmp_path: Path, lines: list[str], values: list[Any]) -> None:
    rows, aside = read(tmp_path / "a.jsonl", "\n".join(lines), "jsonl")

    assert [row["a"] for row in rows] == values
    assert aside == []


def test_a_key_seen_once_stays_a_column(tmp_path: Path) -> None:
    pad = "x" * 1000
    lines = ['{"weight":1,"pad":"x"}'] + [json.dumps({"pad": pad})] * 9_000
    (tmp_path / "a.jsonl").write_text("\n".join(lines))

    found = chunks(tmp_path / "a.jsonl", "jsonl")

    assert len(found) > 1
    assert {tuple(chunk.table.column_names) for chunk in found} == {("weight", "pad")}
    assert sum(chunk.table.num_rows for chunk in found) == 9_001


# Parquet


def test_parquet_keeps_types_and_reads_chosen_row_groups(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(100)), "day": [dt.date(2020, 1, 1)] * 100})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)

    everything = chunks(tmp_path / "a.parquet", "parquet")
    some = chunks(tmp_path / "a.parquet", "parquet", row_groups=(2, 4))

    assert num_row_groups(FS, str(tmp_path / "a.parquet")) == 10
    assert pa.concat_tables([chunk.table for chunk in everything]) == table
    assert [n for chunk in some for n in chunk.table["n"].to_pylist()] == list(range(20, 40))


def test_parquet_view_types_become_plain(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array(["x", "y"], pa.string_view())}), tmp_path / "a.parquet")

    (chunk,) = chunks(tmp_path / "a.parquet", "parquet")

    assert chunk.table.filter(pa.array([False, True])).to_pylist() == [{"a": "y"}]


def test_an_empty_parquet_table_gives_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")

    (chunk,) = chunks(tmp_path / "a.parquet", "parquet")

    assert chunk.table.schema.names == ["a"]
    assert chunk.table.num_rows == 0


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_files_that_are_missing_or_empty_are_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(InputError, match="gone"):
        chunks(tmp_path / "gone", form)
    with pytest.raises(InputError, match=r"void.*empty|void.*0 bytes"):
        read(tmp_path / "void", b"", form)


def test_a_cut_parquet_file_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": list(range(1000))}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()

    with pytest.raises(InputError, match=r"a\.parquet"):
        read(tmp_path / "a.parquet", whole[: len(whole) // 2], "parquet")
    with pytest.raises(InputError, match=r"a\.parquet"):
        num_row_groups(FS, str(tmp_path / "a.parquet"))


# Finding and sharing out files


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

    groups = [split.row_groups for split in splits]
    assert len(splits) >= 4
    assert [index for group in groups if group for index in range(*group)] == list(range(10))
    assert [
        n
        for group in groups
        for chunk in chunks(path, "parquet", row_groups=group)
        for n in chunk.table["n"].to_pylist()
    ] == list(range(10_000))


def test_a_missing_column_is_named_with_its_key() -> None:
    require_columns(["a", "b"], ["a"], "f.csv", "inputs.events.columns.user_id")
    with pytest.raises(InputError) as error:
        require_columns(["a", "b"], ["CustomerID"], "f.csv", "inputs.events.columns.user_id")
    assert (
        str(error.value) == "inputs.events.columns.user_id: column 'CustomerID' is not in f.csv; its columns are a, b"
    )


def test_rows_as_json_are_strict() -> None:
    table = pa.table(
        {
            "number": [float("nan"), 1.5],
            "moment": pa.array([0, None], pa.timestamp("ns", "UTC")),
            "price": [decimal.Decimal("1.50"), None],
            "bytes": [b"\xff", b"x"],
            "list": [[float("inf")], [1.0]],
            "text": ["é" * 20_000, "ü"],
            "wait": pa.array([1, 2], pa.duration("s")),
        }
    )

    first, second = (json.loads(row, parse_constant=pytest.fail) for row in rows_as_json(table))

    assert first["number"] == "nan"
    assert first["moment"].startswith("1970-01-01 00:00:00")
    assert first["price"] == "1.50"
    assert first["bytes"] == "\\xff"
    assert first["list"] == ["inf"]
    assert len(first["text"]) == 10_001
    assert second["text"] == "ü"
