import decimal
import json

import pyarrow as pa
import pytest

from recsys.data.checks.quarantine import rows_as_json


def test_rows_as_json_are_strict() -> None:
    table = pa.table(
        {
            "number": [float("nan"), 1.5],
            "timestamp": pa.array([0, None], pa.timestamp("ns", "UTC")),
            "price": [decimal.Decimal("1.50"), None],
            "bytes": [b"\xff", b"x"],
            "list": [[float("inf")], [1.0]],
            "text": ["é" * 20_000, "ü"],
            "wait": pa.array([1, 2], pa.duration("s")),
        }
    )

    first, second = (json.loads(row, parse_constant=pytest.fail) for row in rows_as_json(table))

    assert first["number"] == "nan"
    assert first["timestamp"].startswith("1970-01-01 00:00:00")
    assert first["price"] == "1.50"
    assert first["bytes"] == "\\xff"
    assert first["list"] == ["inf"]
    assert len(first["text"]) == 10_001
    assert second["text"] == "ü"
