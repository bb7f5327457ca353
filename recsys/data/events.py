"""Turn source rows into interactions, or into quarantine rows with a reason."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.cells import as_number, as_text, is_text
from recsys.data.columns import require_columns, require_plain_columns
from recsys.data.config import EventsInput
from recsys.data.date_evidence import FIRST_READING, DateEvidence, DateReading
from recsys.data.event_weights import weights_of_events, weights_of_kinds
from recsys.data.ids import join_ids, read_ids
from recsys.data.missing_values import MISSING_VALUES, without_missing
from recsys.data.quarantine import Reason
from recsys.data.row_checks import RowFault, filtered, flags, quarantine_faults
from recsys.data.texts import LONGEST_TEXT, clean_text, cut_text, non_empty
from recsys.data.timestamps import read_timestamps
from recsys.schema import INTERACTIONS, INTERACTIONS_WITH_TEXT, QUARANTINE, TIMESTAMP, USUAL_EVENT

CLOCK_TOLERANCE = dt.timedelta(days=1)
#: Sums of many weights must fit into float32.
LARGEST_WEIGHT = 1e30


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRules:
    """Limits that every event of a night is checked against."""

    known_items: pa.Array
    """Ids of the catalog: string [I]."""
    max_id_chars: int
    missing_values: Sequence[str] = MISSING_VALUES
    """Words that stand for a missing value."""
    earliest: dt.datetime
    """An event before this time (aware) is a fault."""
    end: dt.datetime
    """Exclusive end of the night's data date (aware)."""
    now: dt.datetime
    """Time at which the run reads its input (aware). An event much later than this is a fault."""
    event_weights: Mapping[str, float] = field(default_factory=dict)
    """`inputs.event_weights`."""
    reading: DateReading = FIRST_READING
    """How dates with two readings are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisedEvents:
    """What became of each row of a table: num_read = accepted + quarantined + num_filtered + num_later."""

    accepted: pa.Table
    """`interactions_schema`, in the order of the rows."""
    rows: Any
    """Index of each accepted event among the rows that passed `where`: int64."""
    quarantined: pa.Table
    """QUARANTINE: one row for each bad event, with the first fault that was found."""
    num_read: int
    num_filtered: int
    """Rows that did not pass `where`."""
    num_later: int
    """Events after the night's date; a later night will use them."""
    newest: dt.datetime | None
    """Timestamp of the latest accepted event."""
    dates: DateEvidence
    """What the rows that passed `where` prove about dates with two readings."""
    oldest_later: dt.datetime | None = None
    """Timestamp of the earliest event after the night's date."""


def interactions_schema(spec: EventsInput) -> pa.Schema:
    """INTERACTIONS, or INTERACTIONS_WITH_TEXT if the config reads texts of events."""
    return INTERACTIONS if spec.columns.text is None else INTERACTIONS_WITH_TEXT


def normalise_events(table: pa.Table, source: str, spec: EventsInput, rules: EventRules) -> NormalisedEvents:
    """Filter, map, check and clean the rows of one source table.

    If the config reads texts, a row with a text and without an item is a search: its item id is "".

    Raises:
        InputError: a mapped or filtered column is missing, or cannot hold ids.
        ConfigError: `where`, `timezone` or `timestamp_format` is wrong.
    """
    num_read = table.num_rows
    columns = spec.columns
    if table.num_columns:  # a block that holds only malformed lines has no columns
        for part, column in columns.model_dump(exclude_none=True).items():
            require_columns(table.column_names, [column], source, f"inputs.events.columns.{part}")
            require_plain_columns(table, [column], source, f"inputs.events.columns.{part}")
    if not num_read:
        return _no_events(spec)
    table = filtered(table, spec.where, source, "inputs.events.where")
    num_filtered = num_read - table.num_rows

    read_times = read_timestamps(table[columns.timestamp], spec, rules.reading)
    timestamps = read_times.utc
    time_faults, later = _check_times(timestamps, columns.timestamp, rules)
    missing = rules.missing_values
    user_ids = read_ids(table, columns.user_id, rules.max_id_chars, missing)
    item_ids = read_ids(table, columns.item_id, rules.max_id_chars, missing)
    users, (items, known) = user_ids.values, join_ids(item_ids.values, rules.known_items)
    kinds = _read_kinds(table, columns.event, missing)
    weights, weight_faults = _read_weights(table, spec, missing, weights_of_kinds(kinds, rules.event_weights))
    texts, text_faults = _read_texts(table, spec, missing)
    search = flags(pc.is_null(items)) & flags(pc.not_equal(texts, ""))
    faults = [
        RowFault(Reason.MISSING_USER, columns.user_id, flags(pc.is_null(users))),
        RowFault(Reason.MISSING_ITEM, columns.item_id, flags(pc.is_null(items)) & ~search),
        *user_ids.faults,
        *item_ids.faults,
        *time_faults,
        *weight_faults,
        RowFault(Reason.UNKNOWN_ITEM, columns.item_id, ~known & ~search),
        *text_faults,
    ]
    bad, aside = quarantine_faults(table, source, faults, ~later)
    good = pa.array(~bad & ~later)
    schema = interactions_schema(spec)
    read = [users, pc.fill_null(items, ""), timestamps, kinds, weights, texts]
    accepted = pa.table(read[: len(schema)], names=schema.names).filter(good)
    newest = pc.max(accepted["timestamp"]).as_py()
    oldest_later = pc.min(timestamps.filter(pa.array(later))).as_py()
    return NormalisedEvents(
        accepted=accepted.cast(schema),
        rows=np.flatnonzero(~bad & ~later),
        quarantined=aside,
        num_read=num_read,
        num_filtered=num_filtered,
        num_later=int(later.sum()),
        newest=newest.astimezone(dt.UTC) if newest is not None else None,
        oldest_later=oldest_later.astimezone(dt.UTC) if oldest_later is not None else None,
        dates=read_times.evidence,
    )


def _check_times(timestamps: pa.Array, column: str, rules: EventRules) -> tuple[list[RowFault], Any]:
    """What is wrong with the timestamps [N], and which of them are after the night's date."""
    early = flags(pc.less(timestamps, pa.scalar(rules.earliest, TIMESTAMP)))
    waits = flags(pc.greater_equal(timestamps, pa.scalar(rules.end, TIMESTAMP)))
    future = waits & flags(pc.greater(timestamps, pa.scalar(rules.now + CLOCK_TOLERANCE, TIMESTAMP)))
    faults = [
        RowFault(Reason.UNREADABLE_TIMESTAMP, column, flags(pc.is_null(timestamps))),
        RowFault(Reason.EARLY_TIMESTAMP, column, early),
        RowFault(Reason.FUTURE_TIMESTAMP, column, future),
    ]
    return faults, waits & ~future


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
    """Clean texts [N], cut to their maximum, and "" where there is none."""
    column = spec.columns.text
    if column is None:
        return pa.repeat("", table.num_rows), []
    raw = non_empty(without_missing(as_text(table[column]), missing_values))
    too_long = flags(pc.greater(pc.utf8_length(raw), LONGEST_TEXT))
    raw = pc.if_else(pa.array(too_long), pa.scalar(None, pa.string()), raw)
    texts = cut_text(clean_text(pc.fill_null(raw, "")), spec.max_text_chars)
    return texts, [RowFault(Reason.TEXT_TOO_LONG, column, too_long)]


def _no_events(spec: EventsInput) -> NormalisedEvents:
    return NormalisedEvents(
        accepted=interactions_schema(spec).empty_table(),
        rows=np.empty(0, np.int64),
        quarantined=QUARANTINE.empty_table(),
        num_read=0,
        num_filtered=0,
        num_later=0,
        newest=None,
        dates=DateEvidence(),
    )
