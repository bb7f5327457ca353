import io
import json
from typing import Any

import pyarrow as pa
import pytest

from recsys.data.formats.jsonl import read_jsonl
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
