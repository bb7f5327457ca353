"""The history that the ranker reads for a request: the stored history of the user, then the events of the session.

Shapes: B requests.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pyarrow as pa

from recsys.data.events.event_weights import IMPRESSION, plain_kind
from recsys.schema import HISTORIES, PROFILE, REJECTED, SERVED, TEXTS, USUAL_EVENT
from recsys.serving.contracts import HistoryEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the service knows of the user of one request."""

    user_id: str
    """"" for an anonymous user."""
    stored: dict[str, Any] | None
    """The user's row of HISTORIES that the nightly run wrote; None: the run did not know the user."""
    events: Sequence[HistoryEvent]
    """Events since then, oldest first; all items are in the catalog."""
    weights: Sequence[float]
    """Weights of these events, by their kinds. 0 or less: the event is no positive, as in the night."""
    query: str
    """The search of the request; "" for none."""
    profile: str
    """The user's attributes as one text; "" for none: then the stored profile is used."""


def session_histories(sessions: Sequence[Session], now: dt.datetime, max_events: int) -> pa.Table:
    """HISTORIES of B sessions with texts, profiles and rejected items: the newest `max_events` positives of each.

    An event without a timestamp gets the timestamp of the event before; the first such event gets `now`. A timestamp
    after `now` becomes `now`. Of events with equal timestamps, stored events come first, then the session's events in
    their order. The query is the last event.
    """
    rows = [_row(session, now, max_events) for session in sessions]
    return pa.Table.from_pylist(rows, schema=pa.schema([*HISTORIES, TEXTS, PROFILE, *REJECTED, *SERVED]))


def _row(session: Session, now: dt.datetime, max_events: int) -> dict[str, Any]:
    stored = session.stored or {}
    timed = list(zip(_timed(session, now), session.weights, strict=True))
    new = [
        (event.item_id, time, event.event or USUAL_EVENT, weight, "")
        for (event, time), weight in timed
        if not _is_impression(event)
    ]
    served = _served(stored, [(event.item_id, time) for (event, time), _ in timed if _is_impression(event)], new)
    rejected, acted = _rejected(stored, new), new
    new = [event for event in new if event[3] > 0]
    # a client may send stored events again, or older events; gaps and ages need the order of time
    events = sorted([*_stored_events(stored), *new], key=itemgetter(1))
    if session.query:
        events.append(("", max([now, *(event[1] for event in events[-1:])]), USUAL_EVENT, 1.0, session.query))
    columns = zip(*events[-max_events:], strict=True) if events else ((),) * len(_COLUMNS)
    seen = {*stored.get("seen_item_ids", ()), *(event[0] for event in acted)}
    return {
        "user_id": session.user_id,
        **{name: list(values) for name, values in zip(_COLUMNS, columns, strict=True)},
        "seen_item_ids": sorted(seen),
        "profile": session.profile or stored.get("profile", ""),
        **dict(zip(REJECTED.names, (list(rejected), list(rejected.values())), strict=True)),
        **dict(zip(SERVED.names, served, strict=True)),
    }


#: The columns of a history that have one value for each event.
_COLUMNS = ("item_ids", "timestamps", "events", "weights", "texts")


def _stored_events(stored: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The events of a stored row, one tuple of `_COLUMNS` each."""
    lists = [stored.get(name) or () for name in _COLUMNS[:-1]]
    return zip(*lists, stored.get("texts") or [""] * len(lists[0]), strict=True)


def _rejected(stored: dict[str, Any], new: list[tuple[Any, ...]]) -> dict[str, dt.datetime]:
    """Items whose newest event with a weight has a negative one, with its time; as the night finds them."""
    items, times = (stored.get(name) or () for name in REJECTED.names)
    known = [(item, time, 1.0) for item, time, *_ in _stored_events(stored)]
    known += [(item, time, -1.0) for item, time in zip(items, times, strict=True)]
    known += [(item, time, weight) for item, time, _, weight, _ in new if weight]
    newest = {item: (time, weight) for item, time, weight in sorted(known, key=itemgetter(1))}
    return {item: time for item, (time, weight) in sorted(newest.items()) if weight < 0}


def _is_impression(event: HistoryEvent) -> bool:
    return plain_kind(event.event or USUAL_EVENT) == IMPRESSION


def _served(
    stored: dict[str, Any], shown: list[tuple[str, dt.datetime]], new: list[tuple[Any, ...]]
) -> tuple[list[str], list[dt.datetime]]:
    """The impressions since the user last took their items, as the night finds them: items and times."""
    taken = {item: time for item, time, _, weight, _ in sorted(new, key=itemgetter(1)) if weight > 0}
    known = list(zip(*(stored.get(name) or () for name in SERVED.names), strict=True))
    kept = [(item, time) for item, time in [*known, *shown] if item not in taken or time > taken[item]]
    return [item for item, _ in kept], [time for _, time in kept]


def _timed(session: Session, now: dt.datetime) -> list[tuple[HistoryEvent, dt.datetime]]:
    """The session's events with their times, in the given order."""
    timed = []
    last: dt.datetime | None = None
    for event in session.events:
        last = min(_utc(event.timestamp) or last or now, now)
        timed.append((event, last))
    return timed


def _utc(time: dt.datetime | None) -> dt.datetime | None:
    """The time in UTC; None where there is none, or where UTC cannot represent it (year 1 or 9999, by the offset)."""
    if time is None or time.tzinfo is None:
        return time and time.replace(tzinfo=dt.UTC)
    try:
        return time.astimezone(dt.UTC)
    except OverflowError:
        return None
