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
    content: str | bytes,
    encoding: str = "utf-8",
    delimiter: str = ",",
    quoting: Any = None,
    block_bytes: int = 1 << 20,
) -> list[tuple[pa.Table, pa.Table]]:
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    chunks = read_csv(stream, "a.csv", encoding=encoding, delimiter=delimiter, quoting=quoting, block_bytes=block_bytes)
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


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("end", ["", '9,"ten"\n', '9,""\n', '9,x"y"\n', '"9","ten"\n'])
@pytest.mark.parametrize("opening", ['3,"4', '"3,4', '3,"4""'])
def test_a_quote_that_never_closes_costs_one_line(opening: str, end: str, block_bytes: int) -> None:
    rows, aside = read(f"a,b\n1,2\n{opening}\n5,6\n7,8\n{end}", block_bytes=block_bytes)

    assert rows[:3] == [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}, {"a": "7", "b": "8"}]
    assert len(rows) == (4 if end else 3)
    assert aside == [({"raw": opening}, "unclosed_quote")]


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_rows_between_two_stray_quotes_are_set_aside_line_by_line(delimiter: str, block_bytes: int) -> None:
    lines = ['u1,i1,1,"great', "u2,i2,2,good", "u3,i3,3,bad", 'u4,i4,4,so so"', "u5,i5,5,fine"]
    content = "\n".join(["user,item,time,text", *lines]).replace(",", delimiter) + "\n"

    rows, aside = read(content, delimiter=delimiter, block_bytes=block_bytes)

    assert [row["user"] for row in rows] == ["u5"]
    assert aside == [({"raw": line.replace(",", delimiter)}, "unclosed_quote") for line in lines[:4]]


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_cells_of_several_lines_stay_cells(block_bytes: int) -> None:
    text = 'A lamp, blue.\nNice, and, cheap\n\n"New", old'
    content = 'id,text,price\n1,"' + text.replace('"', '""') + '",5\n2,"x\ny",\n'

    rows, aside = read(content, block_bytes=block_bytes)

    assert rows == [{"id": "1", "text": text, "price": "5"}, {"id": "2", "text": "x\ny", "price": None}]
    assert aside == []


def test_a_cell_above_a_mebibyte_is_no_cell() -> None:
    rows, aside = read('a,b\n1,"' + ("x" * 1000 + "\n") * 1100 + '"\n5,6\n', block_bytes=1 << 10)

    assert rows == [{"a": "5", "b": "6"}]
    assert len(aside) == 1101
    assert {reason for _, reason in aside} == {"unclosed_quote", "malformed_row"}


def test_a_file_that_never_quotes() -> None:
    content = 'user\ttext\nu1\t"great\nu2\t""\nu3\t5" screen\nu4\tsaid "so"\n'

    rows, aside = read(content, delimiter="\t", quoting="none", block_bytes=7)

    assert [row["text"] for row in rows] == ['"great', '""', '5" screen', 'said "so"']
    assert aside == []
    assert read("user:token\ttext:token_seq" + content.removeprefix("user\ttext"), delimiter="\t")[0] == rows


@settings(max_examples=100)
@given(st.text('ab",\n', max_size=60), st.integers(1, 30))
def test_every_line_is_a_row_or_set_aside_whatever_the_blocks(text: str, block_bytes: int) -> None:
    rows, aside = read(f"a,b\n{text}\n")

    other_rows, other_aside = read(f"a,b\n{text}\n", block_bytes=block_bytes)
    assert (other_rows, sorted(map(str, other_aside))) == (rows, sorted(map(str, aside)))
    lines = sum(1 + sum((cell or "").count("\n") for cell in row.values()) for row in rows) + len(aside)
    assert lines >= sum(bool(line) for line in text.split("\n"))


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends(line_end: str) -> None:
    rows, aside = read(line_end.join(["a,b", "1,2", '3,"4', '5"', "6,7", ""]), block_bytes=3)

    assert [row["a"] for row in rows] == ["1", "3", "6"]
    assert aside == []


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_header_in_the_middle_is_no_row(block_bytes: int) -> None:
    rows, aside = read("a,b\n1,2\n\ufeffa,b\n3,4\n a , b \na,5\n", block_bytes=block_bytes)

    assert [row["a"] for row in rows] == ["1", "3", "a"]
    assert [reason for _, reason in aside] == ["repeated_header"] * 2
    with pytest.raises(InputError, match=r"a\.csv.*second header.*b, a"):
        read("a,b\n1,2\nb,a\n2,1\n")
    assert read("a:token\tb:float\n1\t2\na:token\tb:float\n", delimiter="\t")[0] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a,b,\n1,2,\n", ["a", "b", "unnamed_3"]),
        ("a,b,,\n1,2\n", ["a", "b"]),
        ("a,b\n1,2,,\n", ["a", "b", "unnamed_3", "unnamed_4"]),
        (",a,b\n0,1,2\n", ["unnamed_1", "a", "b"]),
        ("\n# made by a tool\n#\na,b\n1,2\n", ["a", "b"]),
        ("#a,b\n1,2\n", ["a", "b"]),
        ("#a,b\n", ["a", "b"]),
        ("# shop, 2026\na,b\n1,2\n", ["a", "b"]),
        ("sep=,\n a ,b \n1,2\n", ["a", "b"]),
    ],
)
def test_headers_as_tools_write_them(content: str, names: list[str]) -> None:
    pieces_found = pieces(content)

    rows = [row for table, _ in pieces_found for row in table.to_pylist()]
    assert pieces_found[0][0].column_names == names
    assert [(row["a"], row["b"]) for row in rows] == ([("1", "2")] if "1" in content else [])
    assert not any(len(aside) for _, aside in pieces_found)


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        (b"a;b\n1;2\n", "delimiter: ';'"),
        (b"a\tb\n1\t2\n", r'delimiter: "\\t"'),
        (b"a|b\n1|2\n", r"delimiter: '\|'"),
        (b"sep=;\na;b\n1;2\n", "delimiter: ';'"),
        (b"1::1193::5::978300760\n", "'::' between its fields.*another one, and with the names of its columns"),
        (b"1::Toy Story (1995)::Animation, Comedy\n", "'::' between its fields"),
        (b"1,Lamp,0,0\n", "'0'.*the file has no header: write the names"),
        (b'{"a": 1}\n', "format: jsonl"),
        ("prénom,b\n1,2\n".encode("latin-1"), "encoding.*cp1252"),
        ("a,b\n1,2\n".encode("utf-16-le"), "encoding: utf-16-le"),
        (b'a,"b\n' + b"1,2\n" * 60, "quote that never closes"),
        (b"Sales of 2026,,\na,b,c\n1,2,3\n", "'Sales of 2026'; delete the lines above the names"),
    ],
)
def test_headers_that_are_refused_with_the_way_out(content: bytes, way_out: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.csv: .*{way_out}"):
        read(content)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_says_the_encoding(encoding: str) -> None:
    assert read("ä,b\né,ü\n".encode(encoding)) == ([{"ä": "é", "b": "ü"}], [])


def test_a_closed_quote_at_the_end_is_a_row() -> None:
    rows, aside = read('a,b\n1,"x\ny"\n')

    assert (rows, aside) == ([{"a": "1", "b": "x\ny"}], [])


@pytest.mark.parametrize("shift", ["", "x"])
def test_a_sign_that_is_cut_by_the_reading_of_the_header_is_whole(shift: str) -> None:
    cells = [shift, *["é" * 99] * 5_500]  # the header is searched in the first MiB

    rows, aside = read("a\n" + "\n".join(cells) + "\n")

    assert [row["a"] for row in rows] == [cell for cell in cells if cell]
    assert aside == []


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


def test_a_title_above_the_names_is_refused_and_an_index_without_a_name_is_read() -> None:
    with pytest.raises(InputError, match=r"a\.csv: its first line is not a header.*'Sales of 2026'; delete the lines"):
        read("Sales of 2026,,\nuser_id,item_id,at\n")

    assert read(",title\ni1,Lamp\n") == ([{"unnamed_1": "i1", "title": "Lamp"}], [])


def test_only_line_ends_end_a_comment() -> None:
    assert read("# made\x85by us\u2028\na,b\n1,2\n") == ([{"a": "1", "b": "2"}], [])


def test_a_header_may_begin_like_an_orc_file() -> None:
    assert read(b"ORCID,b\n1,2\n")[0] == [{"ORCID": "1", "b": "2"}]
