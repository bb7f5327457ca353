"""Turns source rows into interactions, or sets them aside with a reason.

It knows no files, and of the catalog only the ids.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.cells import as_number, as_text
from recsys.data.columns import require_columns
from recsys.data.config import EventsInput
from recsys.data.quarantine import Reason, quarantined, rows_as_json
from recsys.data.row_filter import row_filter
from recsys.data.texts import LONGEST_TEXT, clean_text, cut_text, non_empty
from recsys.data.timestamps import to_utc
from recsys.errors import InputError
from recsys.schema import INTERACTIONS, INTERACTIONS_WITH_TEXT, QUARANTINE, TIMESTAMP, USUAL_EVENT

_UNPRINTABLE = r"[\p{Cc}\x{2028}\x{2029}]"
_CLOCK_TOLERANCE = dt.timedelta(days=1)
_LARGEST_WEIGHT = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRules:
    """What an event is measured against, the same for all rows of a night."""

    known_items: pa.Array
    """Ids of the catalog, strings."""
    max_id_chars: int
    end: dt.datetime
    """Exclusive end of the night's data date (aware)."""
    now: dt.datetime
    """The moment of the run (aware): nothing can have happened much later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisedEvents:
    """One table's rows, each in one place: num_read = accepted + quarantined + num_filtered + num_later."""

    accepted: pa.Table
    """`interactions_schema`, in the order of the rows."""
    rows: Any
    """Place of each accepted event among the rows that `where` let through: int64."""
    quarantined: pa.Table
    """QUARANTINE, one row for each bad event, with its first fault."""
    num_read: int
    num_filtered: int
    """Rows that `where` left out."""
    num_later: int
    """Events after the night's date, which wait for their own night."""
    newest: dt.datetime | None
    """Latest accepted event."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A reason, the column that carries it, and the rows [N] it applies to."""

    reason: Reason
    column: str
    rows: Any


def interactions_schema(spec: EventsInput) -> pa.Schema:
    """INTERACTIONS, with the texts where they are read."""
    return INTERACTIONS if spec.columns.text is None else INTERACTIONS_WITH_TEXT


def normalise_events(table: pa.Table, source: str, spec: EventsInput, rules: EventRules) -> NormalisedEvents:
    """Filter, map, check and clean the rows of one source table.

    Where texts are read, a row with a text and no item is a search: its item id is "".

    Raises:
        InputError: a mapped or filtered column is missing, or cannot hold ids.
        ConfigError: `where`, `timezone` or `timestamp_format` is wrong.
    """
    num_read = table.num_rows
    columns = spec.columns
    if table.num_columns:  # a block of nothing but malformed lines has no columns to look for
        for part, column in columns.model_dump(exclude_none=True).items():
            require_columns(table.column_names, [column], source, f"inputs.events.columns.{part}")
    if not num_read:
        return _nothing(spec)
    table = filtered(table, spec.where, source, "inputs.events.where")
    num_filtered = num_read - table.num_rows

    timestamps = to_utc(table[columns.timestamp], spec.timezone, spec.timestamp_format)
    waits = flags(pc.greater_equal(timestamps, pa.scalar(rules.end, TIMESTAMP)))
    future = waits & flags(pc.greater(timestamps, pa.scalar(rules.now + _CLOCK_TOLERANCE, TIMESTAMP)))
    later = waits & ~future

    users, items = read_ids(table, columns.user_id), read_ids(table, columns.item_id)
    weights, weight_faults = _read_weights(table, columns.weight)
    texts, text_faults = _read_texts(table, spec)
    search = flags(pc.is_null(items)) & flags(pc.not_equal(texts, ""))
    faults = [
        Fault(Reason.MISSING_USER, columns.user_id, flags(pc.is_null(users))),
        Fault(Reason.MISSING_ITEM, columns.item_id, flags(pc.is_null(items)) & ~search),
        *id_faults(users, columns.user_id, rules.max_id_chars),
        *id_faults(items, columns.item_id, rules.max_id_chars),
        Fault(Reason.UNREADABLE_TIMESTAMP, columns.timestamp, flags(pc.is_null(timestamps))),
        Fault(Reason.FUTURE_TIMESTAMP, columns.timestamp, future),
        *weight_faults,
        Fault(Reason.UNKNOWN_ITEM, columns.item_id, ~flags(pc.is_in(items, value_set=rules.known_items)) & ~search),
        *text_faults,
    ]
    bad, aside = first_faults(table, source, faults, ~later)
    good = pa.array(~bad & ~later)
    schema = interactions_schema(spec)
    read = [users, pc.fill_null(items, ""), timestamps, _read_kinds(table, columns.event), weights, texts]
    accepted = pa.table(read[: len(schema)], names=schema.names).filter(good)
    newest = pc.max(accepted["timestamp"]).as_py()
    return NormalisedEvents(
        accepted=accepted.cast(schema),
        rows=np.flatnonzero(~bad & ~later),
        quarantined=aside,
        num_read=num_read,
        num_filtered=num_filtered,
        num_later=int(later.sum()),
        newest=newest.astimezone(dt.UTC) if newest is not None else None,
    )


def filtered(table: pa.Table, where: str | None, source: str, key: str) -> pa.Table:
    """The rows that the filter of the config key `key` lets through; None: all."""
    return table if where is None else table.filter(row_filter(where, key).mask(table, source))


def read_ids(table: pa.Table, column: str) -> pa.ChunkedArray:
    """Ids [N] as stripped text, null where missing; numbers become text: 17850 and 17850.0 → "17850".

    Raises:
        InputError: the column's type has no plain text.
    """
    if pa.types.is_nested(table[column].type):
        raise InputError(f"column {column!r} is {table[column].type}; an id must be a text or a number")
    ids = pc.utf8_trim_whitespace(as_text(table[column]))
    return pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)


def id_faults(ids: pa.ChunkedArray, column: str, max_id_chars: int) -> list[Fault]:
    """What can be wrong with an id that is there."""
    return [
        Fault(Reason.ID_TOO_LONG, column, flags(pc.greater(pc.utf8_length(ids), max_id_chars))),
        Fault(Reason.UNPRINTABLE_ID, column, flags(pc.match_substring_regex(ids, pattern=_UNPRINTABLE))),
    ]


def first_faults(table: pa.Table, source: str, faults: list[Fault], counts: Any) -> tuple[Any, pa.Table]:
    """Which rows [N] are bad, among those that `counts`, and their QUARANTINE with each row's first fault."""
    first = np.full(table.num_rows, -1)
    for place, fault in reversed(list(enumerate(faults))):
        first[fault.rows] = place
    bad = (first >= 0) & counts
    if not bad.any():
        return bad, QUARANTINE.empty_table()
    found = [faults[place] for place in first[bad]]
    rows = rows_as_json(table.filter(pa.array(bad)))
    aside = quarantined(source, rows, [fault.column for fault in found], [fault.reason for fault in found])
    return bad, aside


def flags(values: Any) -> Any:
    """A numpy bool [N] of an Arrow one; null is false."""
    return np.asarray(pc.fill_null(values, False))


def _read_weights(table: pa.Table, column: str | None) -> tuple[Any, list[Fault]]:
    if column is None:
        return pa.repeat(pa.scalar(1.0, pa.float32()), table.num_rows), []
    source = table[column]
    if pa.types.is_dictionary(source.type):
        source = source.cast(source.type.value_type)
    missing = pc.is_null(source)
    if pa.types.is_string(source.type):
        missing = pc.or_kleene(missing, pc.equal(pc.utf8_trim_whitespace(source), ""))
    number = pc.if_else(missing, 1.0, as_number(source))
    # A weight that float32 cannot hold would be stored as infinite.
    finite = pc.and_(pc.is_finite(number), pc.less_equal(pc.abs(number), _LARGEST_WEIGHT))
    faults = [
        Fault(Reason.UNREADABLE_WEIGHT, column, flags(pc.is_null(number))),
        Fault(Reason.NON_FINITE_WEIGHT, column, flags(pc.invert(finite))),
        Fault(Reason.NEGATIVE_WEIGHT, column, flags(pc.less(number, 0.0))),
    ]
    return pc.cast(pc.if_else(finite, number, pa.scalar(None, pa.float64())), pa.float32(), safe=False), faults


def _read_kinds(table: pa.Table, column: str | None) -> Any:
    if column is None:
        return pa.repeat(USUAL_EVENT, table.num_rows)
    kinds = pc.utf8_trim_whitespace(as_text(table[column]))
    return pc.if_else(pc.fill_null(pc.equal(kinds, ""), True), USUAL_EVENT, kinds)


def _read_texts(table: pa.Table, spec: EventsInput) -> tuple[Any, list[Fault]]:
    """What was said [N], clean and cut, "" where nothing was."""
    column = spec.columns.text
    if column is None:
        return pa.repeat("", table.num_rows), []
    said = non_empty(as_text(table[column]))
    too_long = flags(pc.greater(pc.utf8_length(said), LONGEST_TEXT))
    said = pc.if_else(pa.array(too_long), pa.scalar(None, pa.string()), said)
    texts = cut_text(clean_text(pc.fill_null(said, "")), spec.max_text_chars)
    return texts, [Fault(Reason.TEXT_TOO_LONG, column, too_long)]


def _nothing(spec: EventsInput) -> NormalisedEvents:
    return NormalisedEvents(
        accepted=interactions_schema(spec).empty_table(),
        rows=np.empty(0, np.int64),
        quarantined=QUARANTINE.empty_table(),
        num_read=0,
        num_filtered=0,
        num_later=0,
        newest=None,
    )
