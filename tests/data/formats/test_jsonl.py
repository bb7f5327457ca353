import io
import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from recsys.data.config import EventsInput
from recsys.data.formats import json_text
from recsys.data.formats.input_format import Source
from recsys.data.formats.jsonl import JsonlFormat, read_jsonl
from recsys.errors import InputError
from recsys.schema import QUARANTINE


def pieces(content: str | bytes) -> list[tuple[pa.Table, pa.Table]]:
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    found = [(chunk.table, chunk.malformed) for chunk in read_jsonl(stream, "a.jsonl", block_bytes=1 << 20)]
    assert all(malformed.schema == QUARANTINE for _, malformed in found)
    return found


def read(content: str | bytes) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows, and (row, reason) of what was set aside."""
    found = pieces(content)
    rows = [row for table, _ in found for row in table.to_pylist()]
    return rows, [(json.loads(bad["row"]), bad["reason"]) for _, aside in found for bad in aside.to_pylist()]


def test_json_lines_of_the_same_types_keep_them() -> None:
    rows, aside = read('{"a":"2010-01-01","b":1}\n\n{"b":2,"c":true}\n')

    assert rows == [{"a": "2010-01-01", "b": 1, "c": None}, {"a": None, "b": 2, "c": True}]
    assert aside == []


def test_bad_json_lines_are_set_aside_and_their_neighbours_kept() -> None:
    content = b'\xef\xbb\xbf{"a":1}\nnope\n[1]\n{"a":"\xff"}\n{"a":"\\ud800"}\n{"a":2}\n{"a":'

    rows, aside = read(content)

    assert rows == [{"a": 1}, {"a": 2}]
    assert [reason for _, reason in aside] == ["malformed_row"] * 2 + ["invalid_encoding"] * 2 + ["malformed_row"]


def test_a_table_by_column_is_refused_with_the_way_out() -> None:
    """What pandas writes by default: each row would be some columns of their own."""
    content = pd.DataFrame({"user": ["u1", "u2"], "item": [1, 2]}).to_json()
    for written in (content, f"\ufeff{content}\n"):
        with pytest.raises(InputError, match=r"a\.jsonl: is one object .* orient='records', lines=True"):
            read(written)
    rows, _ = read('{"stars":{"0":5},"user":"u1"}\n{"stars":{"0":4},"user":"u2"}\n')
    assert [(row["user"], row["stars.0"]) for row in rows] == [("u1", 5), ("u2", 4)]


def test_rows_that_are_the_values_of_one_object_are_refused() -> None:
    """Games of Steam are so: `{"10": {"name": …}, "20": {"name": …}}`."""
    content = json.dumps({str(number): {"name": "Lamp", "price": 5} for number in range(4000)})
    with pytest.raises(InputError, match=r"a\.jsonl: its objects have over 10,000 fields.*jq -c '\.\[\]'"):
        read(content)


@pytest.mark.parametrize("content", ['null\n{"a":1}\n', ' \r\n null\r\n{"a":1}', '{"a":1}\nnull\n', '[null, {"a":1}]'])
def test_a_null_among_the_objects_is_no_row(content: str) -> None:
    """Arrow's parser crashes at a first `null`, which `jq` writes where a value is missing."""
    rows, aside = read(content)

    assert rows == [{"a": 1}]
    assert [(row["raw"].strip(), reason) for row, reason in aside] == [("null", "malformed_row")]


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
def test_values_without_a_common_type_become_texts(lines: list[str], values: list[Any]) -> None:
    rows, aside = read("\n".join(lines))

    assert [row["a"] for row in rows] == values
    assert aside == []


def test_a_key_seen_once_stays_a_column() -> None:
    pad = "x" * 1000
    lines = ['{"weight":1,"pad":"x"}'] + [json.dumps({"pad": pad})] * 9_000

    found = pieces("\n".join(lines))

    assert len(found) > 1
    assert {tuple(table.column_names) for table, _ in found} == {("weight", "pad")}
    assert sum(table.num_rows for table, _ in found) == 9_001


ROWS = [{"id": "a", "n": [1, 2], "t": "x\n[{"}, {"id": "b", "n": None, "t": "é 🎁"}, {"id": "c", "n": [], "t": "},"}]
EXPECTED = [row | {"n": None if row["n"] is None else json.dumps(row["n"])} for row in ROWS]


@pytest.mark.parametrize("read_bytes", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        "\ufeff \n" + json.dumps(ROWS, indent=2, ensure_ascii=False).replace("\n", "\r\n"),
        "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
        "[" + json.dumps(ROWS[0]) + "]\n[" + ", ".join(map(json.dumps, ROWS[1:])) + "]",
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
    ],
)
def test_arrays_and_objects_over_several_lines(content: str, read_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if read_bytes == 1 << 20 or content[0] == "[":
        monkeypatch.setattr(json_text, "_READ_BYTES", read_bytes)

    rows, aside = read(content)

    assert rows == EXPECTED
    assert aside == []


def test_what_is_no_object_in_an_array_is_set_aside() -> None:
    rows, aside = read('[{"a": 1}, 5, null, {"a": 2}]')

    assert rows == [{"a": 1}, {"a": 2}]
    assert [row["raw"] for row, _ in aside] == ["5", "null"]


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": 2', '[{"a": 1}, {"a": nope}, {"a": 2}]'])
def test_an_array_that_is_cut_off_is_refused(content: str) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl: cannot be read as a JSON array.*one object a line"):
        read(content)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('{"$date": "2026-10-14T10:00:00Z"}', "2026-10-14T10:00:00Z"),
        ('{"$date": 1792022400000}', "2026-10-15T00:00:00+00:00"),
        ('{"$date": {"$numberLong": "-1"}}', "1969-12-31T23:59:59.999000+00:00"),
        ('{"$timestamp": {"t": 1792022400, "i": 1}}', "2026-10-15T00:00:00+00:00"),
        ('{"$oid": "5f43a1e2"}', "5f43a1e2"),
        ('{"$binary": {"base64": "EjRWeA==", "subType": "04"}}', "EjRWeA=="),
        ('{"$numberLong": "9007199254740993"}', 9007199254740993),
        ('{"$numberInt": "7"}', 7),
        ('{"$numberDouble": "2.5"}', 2.5),
        ('{"$numberDecimal": "19.90"}', "19.90"),
        ('{"$numberLong": "many"}', '{"$numberLong": "many"}'),
        ('{"$date": {"$numberLong": "99999999999999999999"}}', '{"$date": 99999999999999999999}'),
    ],
)
def test_extended_json(written: str, value: Any) -> None:
    rows, aside = read(f'{{"a": {written}}}\n{{"a": null}}\n')

    assert [row["a"] for row in rows] == [value, None]
    assert aside == []


def test_fields_of_objects_are_columns() -> None:
    rows, _ = read('{"user": {"id": {"$oid": "5f"}, "at": {"city": "Rome"}}, "n": 1}\n{"user": null, "n": 2}\n')

    assert [(row["user.id"], row["user.at.city"], row["n"]) for row in rows] == [("5f", "Rome", 1), (None, None, 2)]


def test_utf_16_with_a_mark() -> None:
    assert read('{"a":"é"}\r\n{"a":"b"}\r\n'.encode("utf-16")) == ([{"a": "é"}, {"a": "b"}], [])


def test_an_object_itself_is_no_column() -> None:
    """Else its JSON text would be taken for an id."""
    rows, _ = read('{"user": {"id": "u1"}}\n{"user": null}\n')

    assert rows == [{"user.id": "u1"}, {"user.id": None}]


@pytest.mark.parametrize(
    "torn", ['{"a": 1,', '{"a": 1, "b": {', '{"a": [', '{"a": 1, "b": {\n', '{"a": 1, "b": {"c": 2},\n']
)
def test_a_torn_first_line_is_one_bad_row(torn: str) -> None:
    """A writer was killed, or writes now."""
    rows, aside = read(torn + '\n{"a": 2}\n' if torn.endswith("\n") else torn)

    assert rows == ([{"a": 2}] if torn.endswith("\n") else [])
    assert [row["raw"] for row, _ in aside] == [torn.rstrip("\n")]


def test_numbers_among_texts_are_written_as_in_a_block_of_numbers() -> None:
    """Else the user 17850.0 would be another one where a block of the file also holds texts."""
    rows, _ = read('{"u": 17850.0}\n{"u": "ann"}\n{"u": 2.5}\n{"u": 9007199254740993}\n')

    assert [row["u"] for row in rows] == ["17850", "ann", "2.5", "9007199254740993"]


@pytest.mark.parametrize(
    "content",
    [
        '{"data": [{"item_id": "a"}, {"item_id": "b"}], "next": null}',
        '{"schema": {"fields": [{"name": "item_id"}]}, "data": [{"item_id": "a"}, {"item_id": "b"}]}',
        '{"item_id": "a"}',
    ],
)
def test_an_object_around_the_rows_is_refused(content: str) -> None:
    source = Source(path="a.json", options=EventsInput(path="a.json", format="jsonl"))
    chunks = JsonlFormat().read(io.BytesIO(content.encode()), source)

    if "data" in content:
        with pytest.raises(InputError, match=r"a\.json: its rows are in the list 'data' .* \(jq '\.data'\)"):
            next(chunks)
    else:
        assert next(chunks).table["item_id"].to_pylist() == ["a"]
