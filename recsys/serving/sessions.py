"""Who asks, as a history that the ranker reads: what the night knew of them, and what they did and said since.

It knows requests and Arrow tables, no model and no server. Shapes: B requests.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pyarrow as pa

from recsys.schema import HISTORIES, PROFILE, TEXTS, USUAL_EVENT
from recsys.serving.contracts import HistoryEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is known of one who asks."""

    user_id: str
    """"" for a stranger."""
    stored: dict[str, Any] | None
    """Row of HISTORIES that the night wrote; None: the night did not know them."""
    events: Sequence[HistoryEvent]
    """What they did since, oldest first, items that the catalog knows."""
    query: str
    """"" for none."""
    profile: str
    """What they say they are; "" for nothing, then what the night knew holds."""


def session_histories(sessions: Sequence[Session], now: dt.datetime, max_events: int) -> pa.Table:
    """HISTORIES of B sessions with texts and profiles, each the newest `max_events` events, oldest first.

    An event without a moment is as old as the one before it, the first of them happens `now`; none happens later. Of
    one moment, what the night knew comes first, then the events as they are given. What is searched for comes last.
    """
    rows = [_row(session, now, max_events) for session in sessions]
    schema = HISTORIES.append(TEXTS).append(PROFILE)
    return pa.Table.from_pylist(rows, schema=schema)


def _row(session: Session, now: dt.datetime, max_events: int) -> dict[str, Any]:
    stored = session.stored or {}
    since = [(event.item_id, moment, event.event or USUAL_EVENT, 1.0, "") for event, moment in _timed(session, now)]
    # a client may send again what the night knew, or older things; ages count from the newest event
    lived = sorted([*_stored_events(stored), *since], key=itemgetter(1))
    if session.query:
        lived.append(("", max([now, *(event[1] for event in lived[-1:])]), USUAL_EVENT, 1.0, session.query))
    columns = zip(*lived[-max_events:], strict=True) if lived else ((),) * len(_COLUMNS)
    seen = {*stored.get("seen_item_ids", ()), *(event.item_id for event in session.events)}
    return {
        "user_id": session.user_id,
        **{name: list(values) for name, values in zip(_COLUMNS, columns, strict=True)},
        "seen_item_ids": sorted(seen),
        "profile": session.profile or stored.get("profile", ""),
    }


#: An event's columns of a row.
_COLUMNS = ("item_ids", "timestamps", "events", "weights", "texts")


def _stored_events(stored: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What the night knew, an event each."""
    lists = [stored.get(name) or () for name in _COLUMNS[:-1]]
    return zip(*lists, stored.get("texts") or [""] * len(lists[0]), strict=True)


def _timed(session: Session, now: dt.datetime) -> list[tuple[HistoryEvent, dt.datetime]]:
    """What was done since, with its moments, in the given order."""
    timed = []
    last: dt.datetime | None = None
    for event in session.events:
        last = min(_utc(event.timestamp) or last or now, now)
        timed.append((event, last))
    return timed


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    """The moment in UTC; None for none, and for one at an end of time that UTC does not have."""
    if moment is None or moment.tzinfo is None:
        return moment and moment.replace(tzinfo=dt.UTC)
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError:
        return None
