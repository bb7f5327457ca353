"""The commonest bad values of an input, with one row for each reason: what people need to mend it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pyarrow as pa
from pydantic import ConfigDict

from recsys.config.strict_json import STRICT

#: Values that are shown for each reason.
SHOWN = 5
#: Values that a part of an input keeps for each reason: a value that is rare in each part may be common in all.
_KEPT = 20
#: Different values that are counted for each reason; the rarest are forgotten when there are more.
_COUNTED = 10_000
_LONGEST_VALUE = 100


@dataclass(frozen=True, kw_only=True)
class BadValue:
    """A value for which rows were quarantined."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    reason: str
    column: str
    """Column of the value; empty where the whole line is unreadable, which is then the value."""
    value: str | None
    """The value as text, cut to 100 characters; None where it is missing."""
    rows: int
    """Quarantined rows with this value."""
    source: str
    """File of the first of them."""
    row: str
    """The first of them as JSON, as in the quarantine."""


class BadValues:
    """Counts the bad values of the rows that are added."""

    def __init__(self) -> None:
        self._rows: dict[str, Counter[tuple[str, str | None]]] = {}
        self._first: dict[tuple[str, str, str | None], tuple[str, str]] = {}

    def add(self, rows: pa.Table) -> None:
        """Count rows of QUARANTINE."""
        columns = (rows[name].to_pylist() for name in ("source", "row", "column", "reason"))
        for source, row, column, reason in zip(*columns, strict=True):
            value = _value(row, column)
            counter = self._rows.setdefault(reason, Counter())
            if (column, value) not in counter:
                self._first[reason, column, value] = source, row
            counter[column, value] += 1
            if len(counter) > _COUNTED:
                self._forget_rarest(reason)

    def commonest(self) -> list[BadValue]:
        """The commonest values of each reason, for `merge_bad_values`."""
        values = (
            BadValue(reason=reason, column=column, value=value, rows=rows, source=source, row=row)
            for reason, counter in self._rows.items()
            for (column, value), rows in counter.items()
            for source, row in (self._first[reason, column, value],)
        )
        return _commonest(values, _KEPT)

    def _forget_rarest(self, reason: str) -> None:
        counter = self._rows[reason]
        for (column, value), _ in counter.most_common()[_COUNTED // 2 :]:
            del counter[column, value]
            del self._first[reason, column, value]


def merge_bad_values(parts: Iterable[Iterable[BadValue]]) -> list[BadValue]:
    """The few commonest values of each reason in several parts; the first part with a value gives its row."""
    merged: dict[tuple[str, str, str | None], BadValue] = {}
    for part in parts:
        for bad in part:
            key = bad.reason, bad.column, bad.value
            known = merged.get(key)
            merged[key] = bad if known is None else replace(known, rows=known.rows + bad.rows)
    return _commonest(merged.values(), SHOWN)


def by_reason(values: Sequence[BadValue]) -> dict[str, list[BadValue]]:
    """The values of each reason, the commonest reason first."""
    found: dict[str, list[BadValue]] = {}
    for bad in values:
        found.setdefault(bad.reason, []).append(bad)
    return found


def _commonest(values: Iterable[BadValue], most: int) -> list[BadValue]:
    ordered = sorted(values, key=lambda bad: (bad.reason, -bad.rows, bad.column, bad.value or ""))
    return [bad for group in by_reason(ordered).values() for bad in group[:most]]


def _value(row: str, column: str) -> str | None:
    """The value of a column in a row of the quarantine, as text."""
    cells = json.loads(row)
    value = cells.get(column or "raw")
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
