import codecs
import io
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.formats.csv import read_csv
from recsys.errors import ConfigError, InputError
from recsys.schema import QUARANTINE


def pieces(
    content: str | bytes, encoding: str = "utf-8", delimiter: str = ",", block_bytes: int = 1 << 20
) -> list[tuple[pa.Table, pa.Table]]:
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    chunks = read_csv(stream, "a.csv", encoding=encoding, delimiter=delimiter, block_bytes=block_bytes)
    found = [(chunk.table, chunk.malformed) for chunk in chunks]
    assert all(malformed.schema == QUARANTINE for _, malformed in found)
    return found


def read(content: str | bytes, **options: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows, and (row, reason) of what was set aside."""
    found = pieces(content, **options)
    rows = [row for table, _ in found for row in table.to_pylist()]
    return rows, [(json.loads(bad["row"]), bad["reason"]) for _, aside in found for bad in aside.to_pylist()]


def test_csv_cells_are_texts_and_empty_ones_null() -> None:
    rows, aside = read('a,b\r\n007,"x\n""y"", z"\r\n\r\n ,""\r\n')

    assert rows == [{"a": "007", "b": 'x\n"y", z'}, {"a": " ", "b": None}]
    assert aside == []


def test_csv_lines_with_another_number_of_fields_are_set_aside() -> None:
    rows, aside = read("a,b\n1,2\n3\n4,5,6\n7,8\n")

    assert rows == [{"a": "1", "b": "2"}, {"a": "7", "b": "8"}]
    assert aside == [({"raw": "3"}, "malformed_row"), ({"raw": "4,5,6"}, "malformed_row")]


@pytest.mark.parametrize("opening", ['3,"4', '"3,4'])
def test_a_quote_that_never_closes_is_counted_line_by_line(opening: str) -> None:
    rows, aside = read(f"a,b\n1,2\n{opening}\n5,6\n7,8\n")

    assert rows == [{"a": "1", "b": "2"}]
    assert [reason for _, reason in aside] == ["malformed_row"] * 3
    assert aside[2][0] == {"raw": "7,8"}


def test_a_closed_quote_at_the_end_is_a_row() -> None:
    rows, aside = read('a,b\n1,"x\ny"\n')

    assert (rows, aside) == ([{"a": "1", "b": "x\ny"}], [])


def test_broken_text_makes_only_its_own_row_bad() -> None:
    rows, aside = read(b"a,b\n1,\xff\nok,\xc3\xa9\n3\xff\n4,5\n")

    assert rows == [{"a": "ok", "b": "é"}, {"a": "4", "b": "5"}]
    assert sorted(reason for _, reason in aside) == ["invalid_encoding", "malformed_row"]
    assert ({"a": "1", "b": "\ufffd"}, "invalid_encoding") in aside


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8-sig", "latin-1", "utf-16", "cp1252"])
def test_encodings(encoding: str) -> None:
    rows, aside = read("ä,b\né,ü\n".encode(encoding), encoding=encoding)

    assert (rows, aside) == ([{"ä": "é", "b": "ü"}], [])


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    rows, _ = read(codecs.BOM_UTF8 + b"a\n1\n")

    assert rows == [{"a": "1"}]


@pytest.mark.parametrize("encoding", ["klingon", "rot13"])
def test_unknown_encodings(encoding: str) -> None:
    with pytest.raises(ConfigError, match=encoding):
        read("a\n1\n", encoding=encoding)


def test_recbole_types_are_removed_from_the_names() -> None:
    typed, _ = read("user_id:token\trating:float\n1\t2\n", delimiter="\t")
    other, _ = read("user_id:token\trating:stars\n1\t2\n", delimiter="\t")

    assert typed == [{"user_id": "1", "rating": "2"}]
    assert other == [{"user_id:token": "1", "rating:stars": "2"}]


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\n\n\r\n", '"a",b\n'])
def test_a_header_alone_gives_the_columns(content: str) -> None:
    ((table, _),) = pieces(content)

    assert table.num_rows == 0
    assert table.column_names == ["a", "b"]


def test_two_columns_of_one_name() -> None:
    with pytest.raises(InputError, match=r"a\.csv.*'x'"):
        read("x,y,x\n1,2,3\n")


_CELLS = st.text(st.characters(exclude_categories=["Cs", "Co", "Cn"], exclude_characters="\r\0"), max_size=8)


@settings(max_examples=50)
@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), max_size=5))
def test_csv_round_trips(rows: list[tuple[str, ...]]) -> None:
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in ("k", *row)) for row in rows]

    read_rows, aside = read("\n".join(["k,a,b,c", *lines]) + "\n")

    assert aside == []
    assert [tuple(row.values()) for row in read_rows] == [("k", *(cell or None for cell in row)) for row in rows]
