"""Refuses feedback that the night would put into quarantine, by the same rules, before it is stored.

An item that the catalog does not have is no fault here: it may be in the catalog of the next night.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import Reason
from recsys.data.checks.row_checks import flags
from recsys.data.events.event_checks import RowRules
from recsys.data.events.interactions import CLOCK_TOLERANCE
from recsys.data.values.ids import read_ids
from recsys.data.values.missing_values import without_missing
from recsys.data.values.texts import with_meaning
from recsys.serving.contracts import ErrorDetail, FeedbackBatch, FeedbackEvent
from recsys.serving.error_replies import ApiError

_MISSING = "is empty, or a word that stands for a missing value (inputs.missing_values)"
_NO_TEXT = "is empty, holds only punctuation, or is a word that stands for a missing value (inputs.missing_values)"


@dataclass(frozen=True, slots=True)
class _Fault:
    place: int
    """Place of the event among the events."""
    field: str
    message: str
    """What is wrong with the value."""
    value: str


def check_feedback(body: FeedbackEvent | FeedbackBatch, rules: RowRules, now: dt.datetime) -> None:
    """Refuse events that no night would accept.

    Args:
        body: The feedback.
        rules: Those of the nights.
        now: The time (aware).

    Raises:
        ApiError: names the field of the first bad event.
    """
    events = body.events if isinstance(body, FeedbackBatch) else [body]
    faults = [fault for column in ("event_id", "user_id", "item_id") for fault in _of_ids(events, column, rules)]
    faults += [*_of_times(events, rules, now), *_of_searches(events, rules)]
    if not faults:
        return
    first = min(faults, key=lambda fault: fault.place)
    field = f"events.{first.place}.{first.field}" if isinstance(body, FeedbackBatch) else first.field
    shown = f", got {first.value!r}" if len(first.value) <= 40 else ""
    raise ApiError(ErrorDetail(code="invalid", field=field, message=f"{field}: {first.message}{shown}"))


def _of_ids(events: Sequence[FeedbackEvent], column: str, rules: RowRules) -> Iterator[_Fault]:
    given = [(place, value) for place, event in enumerate(events) if (value := getattr(event, column)) is not None]
    values = pa.array([value for _, value in given], pa.string())
    ids = read_ids(pa.table({column: values}), column, rules.max_id_chars, rules.missing_values)
    said = {
        Reason.ID_TOO_LONG: f"an id has at most {rules.max_id_chars} characters (inputs.max_id_chars)",
        Reason.UNPRINTABLE_ID: "must not contain control characters or line separators",
        Reason.LOST_DIGITS: "is a number as spreadsheets show it, without its last digits; send the whole number",
    }
    found = [(flags(pc.is_null(ids.values)), _MISSING)]
    found += [(fault.rows, said.get(fault.reason, fault.reason.value)) for fault in ids.faults]
    for bad, message in found:
        yield from (_Fault(given[row][0], column, message, given[row][1]) for row in bad.nonzero()[0])


def _of_times(events: Sequence[FeedbackEvent], rules: RowRules, now: dt.datetime) -> Iterator[_Fault]:
    for place, event in enumerate(events):
        if event.timestamp is None:
            continue
        time = event.timestamp if event.timestamp.tzinfo else event.timestamp.replace(tzinfo=dt.UTC)
        if time < rules.earliest:
            message = f"is before {rules.earliest:%Y-%m-%d} (inputs.earliest_date)"
            yield _Fault(place, "timestamp", message, time.isoformat())
        elif time > now + CLOCK_TOLERANCE:
            yield _Fault(place, "timestamp", "is in the future", time.isoformat())


def _of_searches(events: Sequence[FeedbackEvent], rules: RowRules) -> Iterator[_Fault]:
    searches = [(place, event.text or "") for place, event in enumerate(events) if event.item_id is None]
    texts = pa.array([text for _, text in searches], pa.string())
    for row in flags(pc.is_null(with_meaning(without_missing(texts, rules.missing_values)))).nonzero()[0]:
        place, text = searches[row]
        yield _Fault(place, "text", _NO_TEXT, text)
