"""Turn source rows into interactions, or into quarantine rows with a reason."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import Reason, quarantined, rows_as_json
from recsys.data.checks.row_checks import flags
from recsys.data.config import EventsInput
from recsys.data.events.event_checks import FaultPlace, RowRules, check_events
from recsys.data.times.date_evidence import DateEvidence
from recsys.data.values.ids import join_ids
from recsys.schema import INTERACTIONS, INTERACTIONS_WITH_TEXT, TIMESTAMP

CLOCK_TOLERANCE = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class EventRules(RowRules):
    """Limits that every event of a night is checked against."""

    known_items: pa.Array
    """Ids of the catalog: string [I]."""
    end: dt.datetime
    """Exclusive end of the night's data date (aware)."""
    now: dt.datetime
    """Time at which the run reads its input (aware). An event much later than this is a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenEvents:
    """What a night makes of checked rows: all of them = accepted + quarantined + num_later."""

    accepted: pa.Table
    """`interactions_schema`, in the order of the rows."""
    rows: npt.NDArray[np.int64]
    """Index of each accepted event among the rows."""
    quarantined: pa.Table
    """QUARANTINE: one row for each bad row, with the first fault that was found."""
    bad: npt.NDArray[np.bool_]
    """Mask over the rows: those that are quarantined."""
    num_later: int
    """Events after the night's date; a later night will use them."""
    newest: dt.datetime | None
    """Timestamp of the latest accepted event."""
    oldest_later: dt.datetime | None
    """Timestamp of the earliest event after the night's date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisedEvents(TakenEvents):
    """What became of each row of a table: num_read = accepted + quarantined + num_filtered + num_later."""

    num_read: int
    num_filtered: int
    """Rows that did not pass `where`."""
    dates: DateEvidence
    """What the rows that passed `where` prove about dates with two readings."""


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
    checked = check_events(table, source, spec, rules)
    taken = take_events(checked.rows, source, spec, rules, lambda bad: rows_as_json(checked.cells.filter(bad)))
    of_taken = {part.name: getattr(taken, part.name) for part in fields(taken)}
    return NormalisedEvents(**of_taken, num_read=len(table), num_filtered=checked.num_filtered, dates=checked.dates)


def take_events(
    checked: pa.Table, source: str, spec: EventsInput, rules: EventRules, cells_of: Callable[[pa.Array], list[str]]
) -> TakenEvents:
    """The events of checked rows that a night uses, by its date and its catalog.

    Args:
        checked: CHECKED_EVENTS [N].
        source: Their file.
        spec: The input.
        rules: Of the night.
        cells_of: Gives the rows of a mask [N] as JSON, as the file has them; asked once, if a row is bad.
    """
    timestamps = checked["timestamp"]
    waits = flags(pc.greater_equal(timestamps, pa.scalar(rules.end, TIMESTAMP)))
    future = waits & flags(pc.greater(timestamps, pa.scalar(rules.now + CLOCK_TOLERANCE, TIMESTAMP)))
    later = waits & ~future
    items, known = join_ids(checked["item_id"], rules.known_items)
    search = flags(pc.is_null(items)) & flags(pc.not_equal(checked["text"], ""))
    place = np.asarray(checked["place"])
    first = np.where(~known & ~search, np.minimum(place, FaultPlace.UNKNOWN), place)
    first = np.where(future, np.minimum(first, FaultPlace.FUTURE), first)
    bad = (first < FaultPlace.NONE) & ~later
    good = ~bad & ~later
    schema = interactions_schema(spec)
    values = [checked["user_id"], pc.fill_null(items, ""), *checked.columns[2:6]][: len(schema)]
    accepted = pa.table(values, names=schema.names).filter(pa.array(good)).cast(schema)
    return TakenEvents(
        accepted=accepted,
        rows=np.flatnonzero(good),
        quarantined=_quarantined(checked, first, bad, source, spec, cells_of),
        bad=bad,
        num_later=int(later.sum()),
        newest=_utc(pc.max(accepted["timestamp"]).as_py()),
        oldest_later=_utc(pc.min(timestamps.filter(pa.array(later))).as_py()),
    )


def _quarantined(
    checked: pa.Table,
    first: npt.NDArray[np.int8],
    bad: npt.NDArray[np.bool_],
    source: str,
    spec: EventsInput,
    cells_of: Callable[[pa.Array], list[str]],
) -> pa.Table:
    if not bad.any():
        return quarantined(source, [], [], [])
    rows, mask = checked.filter(pa.array(bad)), pa.array(bad)
    by_night = {
        FaultPlace.FUTURE: (spec.columns.timestamp, Reason.FUTURE_TIMESTAMP),
        FaultPlace.UNKNOWN: (spec.columns.item_id, Reason.UNKNOWN_ITEM),
    }
    found = zip(first[bad].tolist(), rows["column"].to_pylist(), rows["reason"].to_pylist(), strict=True)
    named = [by_night.get(place, (column, reason)) for place, column, reason in found]
    return quarantined(source, cells_of(mask), [column for column, _ in named], [reason for _, reason in named])


def _utc(time: dt.datetime | None) -> dt.datetime | None:
    return None if time is None else time.astimezone(dt.UTC)
