"""The quarantine: rows that cannot be used, each as JSON with the reason."""

import json
import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys.schema import QUARANTINE

_LONGEST_CELL = 10_000


class Reason(StrEnum):
    """Why a row is in quarantine."""

    MALFORMED_ROW = "malformed_row"
    UNCLOSED_QUOTE = "unclosed_quote"
    REPEATED_HEADER = "repeated_header"
    INVALID_ENCODING = "invalid_encoding"
    MISSING_USER = "missing_user"
    MISSING_ITEM = "missing_item"
    ID_TOO_LONG = "id_too_long"
    UNPRINTABLE_ID = "unprintable_id"
    LOST_DIGITS = "lost_digits"
    UNREADABLE_TIMESTAMP = "unreadable_timestamp"
    EARLY_TIMESTAMP = "early_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    UNREADABLE_WEIGHT = "unreadable_weight"
    NON_FINITE_WEIGHT = "non_finite_weight"
    UNKNOWN_ITEM = "unknown_item"
    UNREADABLE_AVAILABLE = "unreadable_available"
    TEXT_TOO_LONG = "text_too_long"


def quarantined(source: str, rows: Sequence[str], columns: Sequence[str], reasons: Sequence[str]) -> pa.Table:
    """QUARANTINE from parallel lists; `rows` are JSON."""
    return pa.table([[source] * len(rows), list(rows), list(columns), list(reasons)], schema=QUARANTINE)


def raw_rows(source: str, lines: Sequence[str | bytes], reasons: Sequence[str]) -> pa.Table:
    """QUARANTINE of lines that are not rows, each as `{"raw": line}`; bytes that are not UTF-8 appear as `\\xff`."""
    rows = [json.dumps({"raw": _plain(line)}, ensure_ascii=False) for line in lines]
    return quarantined(source, rows, [""] * len(rows), reasons)


def rows_as_json(table: pa.Table) -> list[str]:
    """Each row as strict JSON: NaN, dates and decimals as text, long values cut. It is slow; use it for few rows."""
    readable = [
        pc.cast(column, pa.string()) if pa.types.is_temporal(column.type) else column for column in table.columns
    ]
    rows = pa.table(readable, names=table.column_names).to_pylist()
    return [json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) for row in rows]


def _plain(value: Any) -> Any:
    """A value that strict JSON can hold."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    if len(text) > _LONGEST_CELL:
        text = text[:_LONGEST_CELL] + "…"
    return text
