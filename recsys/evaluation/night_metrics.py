"""The table `metrics` of a night: what its stages recorded, one number in a row."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from recsys.schema import ALL_USERS, METRICS

#: Value, or value with the bounds of its 95 % interval.
Number = float | tuple[float, float, float]
#: (metric, segment, number).
Row = tuple[str, str, Number | None]

#: Stages that read an input, and may put rows into quarantine.
INPUTS = {"catalog": "items", "users": "users", "ingest": "events"}

#: Stages that have texts written, and about what.
_WRITTEN = {"enrich": "items", "enrich_users": "users"}

Records = Mapping[str, Mapping[str, Any]]


def night_metrics(date: dt.date, records: Records) -> pa.Table:
    """METRICS of a night, sorted by metric and segment. A number that the records do not hold has no row.

    Args:
        date: Of the night.
        records: Of its stages by name, as plain values; also records of older versions.
    """
    found = {(metric, segment): number for metric, segment, number in _rows(records) if number is not None}
    rows = []
    for (metric, segment), number in sorted(found.items()):
        value, low, high = number if isinstance(number, tuple) else (number, None, None)
        rows.append({"run_date": date, "metric": metric, "segment": segment, "value": value, "low": low, "high": high})
    return pa.Table.from_pylist(rows, schema=METRICS)


def _rows(records: Records) -> Iterator[Row]:
    yield from _quality(records.get("gate", {}))
    yield from _lists(records.get("recommend", {}), records.get("check", {}))
    for stage, segment in INPUTS.items():
        yield from _input(records.get(stage, {}), segment)
    for stage, segment in _WRITTEN.items():
        yield from _written(records.get(stage, {}), segment)
    gains = records.get("fuse", {}).get("gains", {})
    yield from (("gain_percent", part, _interval(gain, "percent")) for part, gain in gains.items())
    for stage, record in records.items():
        yield from ((name, stage, record.get(name)) for name in ("seconds", "cpu_seconds", "peak_memory_mb"))


def _quality(gate: Mapping[str, Any]) -> Iterator[Row]:
    """Quality of the model, by segments of users; and how far it is above popularity and the published model."""
    details = gate.get("details", {})
    metric = details.get("metric")
    if metric is None:
        return
    users = details.get("num_users")
    yield metric, ALL_USERS, details.get("model") if users != 0 else None
    yield "measured_users", ALL_USERS, users
    for name, baseline in details.get("baselines", {}).items():
        yield metric, name, baseline["mean"]
        yield f"{metric}_difference", name, _interval(baseline["difference"])
    for part in gate.get("segments", ()):
        if part["model"] is not None:
            yield part["metric"], part["segment"], _interval(part["model"])
            yield "measured_users", part["segment"], part["users"]


def _lists(written: Mapping[str, Any], checked: Mapping[str, Any]) -> Iterator[Row]:
    yield from ((name, ALL_USERS, written.get(name)) for name in ("users", "users_without_list", "recommendations"))
    yield from (("filtered_items", rule, num) for rule, num in written.get("filtered", {}).items())
    figures = checked.get("figures", {})
    for metric, name in (("lists", "lists"), ("recommended_items", "items"), ("coverage", "coverage")):
        yield metric, ALL_USERS, figures.get(name)
    yield "short_lists", ALL_USERS, figures.get("short_share")
    for name in ("gini", "top_share", "longtail_share"):
        yield name, ALL_USERS, (checked.get("concentration") or {}).get(name)
    yield "overlap@10", ALL_USERS, (checked.get("overlap") or {}).get("mean")


def _input(read: Mapping[str, Any], segment: str) -> Iterator[Row]:
    if not read:
        return
    yield "rows", segment, read["rows"]
    yield "quarantined", segment, read.get("quarantined")
    yield "quarantine_rate", segment, quarantine_rate(read)
    yield from (("quarantined", f"{segment}: {reason}", num) for reason, num in read.get("reasons", {}).items())


def quarantine_rate(read: Mapping[str, Any]) -> float:
    """Share of the rows of an input that are bad, by the record of the stage that read it, as plain values.

    It is `bad_rate` of `recsys.pipeline.input_records.ReadRows`, also for records of older versions.
    """
    kept = read["rows"] - read.get("filtered", 0) - read.get("feedback_rows", 0)
    return float((read.get("quarantined", 0) - read.get("forgiven", 0)) / max(kept, 1))


def _written(record: Mapping[str, Any], segment: str) -> Iterator[Row]:
    """How many texts there are, and what they took."""
    if not record:
        return
    for metric, name in (("with_written_text", "enriched"), ("texts_written", "written"), ("texts_waiting", "waiting")):
        yield metric, segment, record.get(name)
    yield "tokens", segment, record.get("input_tokens", 0) + record.get("output_tokens", 0)
    yield "token_cost", segment, record.get("cost")
    for kind in ("refused", "failed"):
        yield from ((f"texts_{kind}", f"{segment}: {why}", num) for why, num in record.get(kind, {}).items())


def _interval(found: Mapping[str, float], value: str = "mean") -> Number:
    return found[value], found["low"], found["high"]
