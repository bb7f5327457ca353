"""What rows of events say by themselves: read, cleaned and checked, without a night's date or catalog.

The answer holds for every night that reads the file with the same settings, so it can be kept. What depends on the
night is decided in `recsys.data.events.interactions`.

Shapes: N rows that passed `where`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import Reason
from recsys.data.checks.row_checks import RowFault, filtered, flags
from recsys.data.config import EventsInput, InputsConfig
from recsys.data.events.event_weights import weights_of_events, weights_of_kinds
from recsys.data.times.date_evidence import FIRST_READING, DateEvidence, DateReading
from recsys.data.times.timestamps import read_timestamps
from recsys.data.values.cells import as_number, as_text, is_text
from recsys.data.values.columns import require_columns, require_plain_columns
from recsys.data.values.ids import read_ids
from recsys.data.values.missing_values import MISSING_VALUES, without_missing
from recsys.data.values.texts import LONGEST_TEXT, clean_text, cut_text, with_meaning
from recsys.schema import INTERACTIONS_WITH_TEXT, TIMESTAMP, USUAL_EVENT

#: Sums of many weights must fit into float32.
LARGEST_WEIGHT = 1e30

#: Events as their file alone gives them, before a night's date and catalog are known. ``place`` is that of the first
#: fault (`FaultPlace`); its column and reason follow, null without a fault. ``row`` is the row
#: of the file as JSON, if a night quarantined it. A line that is no row has only a fault and ``row``.
CHECKED_EVENTS = pa.schema(
    [
        *(field.with_nullable(True) for field in INTERACTIONS_WITH_TEXT),
        pa.field("place", pa.int8(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("row", pa.string()),
    ]
)


class FaultPlace(IntEnum):
    """The order of the faults of a row: it is quarantined with the first. A night finds `FUTURE` and `UNKNOWN`."""

    LINE = 0
    FIELDS = 1
    FUTURE = 2
    WEIGHT = 3
    UNKNOWN = 4
    TEXT = 5
    NONE = 6


@dataclass(frozen=True, kw_only=True)
class RowRules:
    """Settings by which a row is checked."""

    max_id_chars: int
    missing_values: Sequence[str] = MISSING_VALUES
    """Words that stand for a missing value."""
    earliest: dt.datetime
    """An event before this time (aware) is a fault."""
    event_weights: Mapping[str, float] = field(default_factory=dict)
    """`inputs.event_weights`."""
    reading: DateReading = FIRST_READING
    """How dates with two readings are read."""


def row_rules(inputs: InputsConfig, reading: DateReading = FIRST_READING) -> RowRules:
    """How rows of events are checked, whatever the night."""
    return RowRules(
        max_id_chars=inputs.max_id_chars,
        missing_values=inputs.missing_values,
        earliest=dt.datetime.combine(inputs.earliest_date, dt.time(), tzinfo=dt.UTC),
        event_weights=inputs.event_weights,
        reading=reading,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEvents:
    """The checked rows of one table."""

    rows: pa.Table
    """CHECKED_EVENTS [N], in the order of the rows; `row` is null."""
    cells: pa.Table
    """The rows [N] as the file has them."""
    num_filtered: int
    """Rows that did not pass `where`."""
    dates: DateEvidence
    """What the rows prove about dates with two readings."""


def check_events(table: pa.Table, source: str, spec: EventsInput, rules: RowRules) -> CheckedEvents:
    """Filter, map, check and clean the rows of one source table.

    If the config reads texts, a row with a text and without an item is a search: its item id is null.

    Raises:
        InputError: a mapped or filtered column is missing, or cannot hold ids.
        ConfigError: `where`, `timezone` or `timestamp_format` is wrong.
    """
    num_read, columns = table.num_rows, spec.columns
    if table.num_columns:  # a block that holds only malformed lines has no columns
        for part, column in columns.model_dump(exclude_none=True).items():
            require_columns(table.column_names, [column], source, f"inputs.events.columns.{part}")
            require_plain_columns(table, [column], source, f"inputs.events.columns.{part}")
    if not num_read:
        return CheckedEvents(rows=CHECKED_EVENTS.empty_table(), cells=table, num_filtered=0, dates=DateEvidence())
    table = filtered(table, spec.where, source, "inputs.events.where")
    read_times = read_timestamps(table[columns.timestamp], spec, rules.reading)
    early = flags(pc.less(read_times.utc, pa.scalar(rules.earliest, TIMESTAMP)))
    missing = rules.missing_values
    users = read_ids(table, columns.user_id, rules.max_id_chars, missing)
    items = read_ids(table, columns.item_id, rules.max_id_chars, missing)
    kinds = _read_kinds(table, columns.event, missing)
    weights, weight_faults = _read_weights(table, spec, missing, weights_of_kinds(kinds, rules.event_weights))
    texts, text_faults = _read_texts(table, spec, missing)
    search = flags(pc.is_null(items.values)) & flags(pc.not_equal(texts, ""))
    fields = [
        RowFault(Reason.MISSING_USER, columns.user_id, flags(pc.is_null(users.values))),
        RowFault(Reason.MISSING_ITEM, columns.item_id, flags(pc.is_null(items.values)) & ~search),
        *users.faults,
        *items.faults,
        RowFault(Reason.UNREADABLE_TIMESTAMP, columns.timestamp, flags(pc.is_null(read_times.utc))),
        RowFault(Reason.EARLY_TIMESTAMP, columns.timestamp, early),
    ]
    faults = [(FaultPlace.FIELDS, fault) for fault in fields]
    faults += [(FaultPlace.WEIGHT, fault) for fault in weight_faults]
    faults += [(FaultPlace.TEXT, fault) for fault in text_faults]
    values = [users.values, items.values, read_times.utc, kinds, weights, texts, *_first_faults(len(table), faults)]
    rows = pa.table([*values, pa.nulls(len(table), pa.string())], names=CHECKED_EVENTS.names)
    return CheckedEvents(
        rows=rows.cast(CHECKED_EVENTS),
        cells=table,
        num_filtered=num_read - len(table),
        dates=read_times.evidence,
    )


def malformed_lines(lines: pa.Table) -> pa.Table:
    """CHECKED_EVENTS of QUARANTINE of lines that are not rows."""
    values: dict[str, Any] = {field.name: pa.nulls(len(lines), field.type) for field in CHECKED_EVENTS}
    values |= {name: lines[name] for name in ("column", "reason", "row")}
    values["place"] = pa.repeat(pa.scalar(FaultPlace.LINE, pa.int8()), len(lines))
    return pa.table(values, schema=CHECKED_EVENTS)


def _first_faults(num_rows: int, faults: Sequence[tuple[FaultPlace, RowFault]]) -> list[pa.Array]:
    """`place`, `column` and `reason` of the first fault of each row [N]."""
    first = np.full(num_rows, len(faults), np.int32)
    for number, (_, fault) in reversed(list(enumerate(faults))):
        first[fault.rows] = number
    places = np.array([*(place for place, _ in faults), FaultPlace.NONE], np.int8)
    named = pa.array(first, mask=first == len(faults))
    columns, reasons = ([getattr(fault, name) for _, fault in faults] for name in ("column", "reason"))
    return [pa.array(places[first]), *(pa.array(names, pa.string()).take(named) for names in (columns, reasons))]


def _read_weights(
    table: pa.Table, spec: EventsInput, missing_values: Sequence[str], of_kinds: Any
) -> tuple[Any, list[RowFault]]:
    """Weights [N] of the events, by the column and the kinds' weights [N]; a missing weight is 1."""
    column = spec.columns.weight
    if column is None:
        return pa.array(of_kinds.astype(np.float32)), []
    source = table[column]
    if pa.types.is_dictionary(source.type):
        source = source.cast(source.type.value_type)
    if is_text(source.type):
        source = as_text(source)
        named = without_missing(source, missing_values)
        source = pc.if_else(pc.is_valid(as_number(source)), source, named)  # the weight NaN is a fault
    missing = pc.is_null(source)
    if pa.types.is_string(source.type):
        missing = pc.or_kleene(missing, pc.equal(pc.utf8_trim_whitespace(source), ""))
    number = pc.if_else(missing, 1.0, as_number(source, spec.decimal))
    unreadable = flags(pc.is_null(number))
    own = np.asarray(pc.fill_null(number, 0.0))
    weights = weights_of_events(np.where(np.isfinite(own), own, 0.0), of_kinds)
    usable = np.isfinite(own) & (np.abs(weights) <= LARGEST_WEIGHT)
    faults = [
        RowFault(Reason.UNREADABLE_WEIGHT, column, unreadable),
        RowFault(Reason.NON_FINITE_WEIGHT, column, ~usable),
    ]
    return pa.array(np.where(usable, weights, 0.0).astype(np.float32)), faults


def _read_kinds(table: pa.Table, column: str | None, missing_values: Sequence[str]) -> Any:
    if column is None:
        return pa.repeat(USUAL_EVENT, table.num_rows)
    kinds = pc.utf8_trim_whitespace(without_missing(as_text(table[column]), missing_values))
    return pc.if_else(pc.fill_null(pc.equal(kinds, ""), True), USUAL_EVENT, kinds)


def _read_texts(table: pa.Table, spec: EventsInput, missing_values: Sequence[str]) -> tuple[Any, list[RowFault]]:
    """Clean texts [N], cut to their maximum, and "" where there is none, or only punctuation."""
    column = spec.columns.text
    if column is None:
        return pa.repeat("", table.num_rows), []
    raw = with_meaning(without_missing(as_text(table[column]), missing_values))
    too_long = flags(pc.greater(pc.utf8_length(raw), LONGEST_TEXT))
    raw = pc.if_else(pa.array(too_long), pa.scalar(None, pa.string()), raw)
    texts = cut_text(clean_text(pc.fill_null(raw, "")), spec.max_text_chars)
    return texts, [RowFault(Reason.TEXT_TOO_LONG, column, too_long)]
