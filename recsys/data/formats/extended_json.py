"""Values of MongoDB's Extended JSON, such as `{"$oid": "5f…"}`, as plain values."""

import datetime as dt
from typing import Any

_PLAIN = {
    "$oid": str,
    "$uuid": str,
    "$symbol": str,
    "$numberDecimal": str,  # a float would not hold all digits
    "$numberInt": int,
    "$numberLong": int,
    "$numberDouble": float,
}


def plain_value(value: dict[str, Any]) -> Any:
    """The value that a JSON object stands for; the object itself where it is not Extended JSON.

    >>> plain_value({"$numberLong": "12"}), plain_value({"$date": 1792022400000}), plain_value({"a": 1})
    (12, '2026-10-15T00:00:00+00:00', {'a': 1})
    """
    if len(value) != 1:
        return value
    ((mark, inner),) = value.items()
    try:
        if mark == "$date":
            return inner if isinstance(inner, str) else _utc(inner / 1000)
        if mark == "$timestamp":
            return _utc(inner["t"])
        if mark == "$binary":
            return str(inner["base64"])
        if mark == "$undefined":
            return None
        return _PLAIN[mark](inner) if mark in _PLAIN else value
    except (ValueError, TypeError, KeyError, OverflowError):
        return value


def _utc(seconds: float) -> str:
    return (dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(seconds=seconds)).isoformat()
