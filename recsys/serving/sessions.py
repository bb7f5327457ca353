"""Who asks, as a history that the ranker reads: what the night knew of them, and what they did and said since.

It knows requests and Arrow tables, no model and no server. Shapes: B requests.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
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

    An event without a moment is as old as the one before it, the first of them happens `now`; none happens later. What
    is searched for comes last.
    """
    rows = [_row(session, now, max_events) for session in sessions]
    schema = HISTORIES.append(TEXTS).append(PROFILE)
    return pa.Table.from_pylist(rows, schema=schema)


def _row(session: Session, now: dt.datetime, max_events: int) -> dict[str, Any]:
    stored = session.stored or {}
    items = list(stored.get("item_ids", ()))
    texts = stored.get("texts")
    columns: dict[str, list[Any]] = {
        "item_ids": items,
        "timestamps": list(stored.get("timestamps", ())),
        "events": list(stored.get("events", ())),
        "weights": list(stored.get("weights", ())),
        "texts": [""] * len(items) if texts is None else list(texts),
    }
    since = [(event.item_id, moment, event.event or USUAL_EVENT, "") for event, moment in _timed(session.events, now)]
    if session.query:
        since.append(("", now, USUAL_EVENT, session.query))
    for item_id, moment, kind, text in since:
        for name, value in zip(columns, (item_id, moment, kind, 1.0, text), strict=True):
            columns[name].append(value)
    seen = {*stored.get("seen_item_ids", ()), *(event.item_id for event in session.events)}
    return {
        "user_id": session.user_id,
        **{name: values[-max_events:] for name, values in columns.items()},
        "seen_item_ids": sorted(seen),
        "profile": session.profile or stored.get("profile", ""),
    }


def _timed(events: Sequence[HistoryEvent], now: dt.datetime) -> list[tuple[HistoryEvent, dt.datetime]]:
    """The events with their moments, by time; equals in the given order."""
    timed = []
    last: dt.datetime | None = None
    for event in events:
        last = min(_utc(event.timestamp) or last or now, now)
        timed.append((event, last))
    return sorted(timed, key=lambda pair: pair[1])


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    """The moment in UTC; None for none, and for one at an end of time that UTC does not have."""
    if moment is None or moment.tzinfo is None:
        return moment and moment.replace(tzinfo=dt.UTC)
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError:
        return None
