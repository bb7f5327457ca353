"""What the live service was told, as a second source of events: its place, its columns, what came twice.

It knows no service and no file.
"""

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.columns import require_columns
from recsys.data.config import EventColumns, EventsInput
from recsys.data.events import EventRules, NormalisedEvents, interactions_schema, normalise_events
from recsys.data.histories import hash_ids
from recsys.data.row_checks import read_ids

#: Folder of the files, below the storage's root; JSON Lines.
FEEDBACK_DIR = "feedback"
#: Columns of the files. `event_id` names the event: one that comes twice counts once.
FEEDBACK_COLUMNS = ("event_id", "user_id", "item_id", "timestamp", "event", "weight", "text")

#: The moment (UTC) with which the name of a file begins, as its writer wrote it.
_BEGUN = re.compile(r"^(\d{8}T\d{6}Z)-")
_EVENT_KEY = "recsys-event-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One table of feedback, read."""

    events: pa.Table
    """`feedback_schema` of what was accepted, in the order of the rows."""
    read: NormalisedEvents
    """What became of the rows that are events to this night."""
    num_searches: int
    """Rows without an item, which are none where texts are not read."""


def started_before(path: str, moment: dt.datetime) -> bool:
    """Whether a file of feedback was begun before a moment (aware), by its name; true where the name does not tell."""
    begun = _BEGUN.match(PurePosixPath(path).name)
    return begun is None or begun[1] < moment.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%SZ")


def feedback_source(path: str, events: EventsInput) -> EventsInput:
    """The feedback in `path` as an input; texts are read where those of the events are."""
    columns = EventColumns(event="event", weight="weight", text=None if events.columns.text is None else "text")
    return EventsInput(path=path, format="jsonl", columns=columns, max_text_chars=events.max_text_chars)


def feedback_schema(spec: EventsInput) -> pa.Schema:
    """Interactions with what tells repeats: `event_id`, null where a file has none, and `place`, the order of rows."""
    schema = interactions_schema(spec)
    return schema.append(pa.field("event_id", pa.string())).append(pa.field("place", pa.int64(), nullable=False))


def read_feedback(table: pa.Table, source: str, spec: EventsInput, rules: EventRules, first: int) -> Feedback:
    """Check and clean the rows of a table as those of the events are; its first row has the place `first`.

    Raises:
        InputError: a column is missing.
    """
    if table.num_columns:  # a file of nothing but a torn line has none
        require_columns(table.column_names, FEEDBACK_COLUMNS, source, "inputs.feedback")
    places = np.arange(first, first + len(table))
    num_searches = 0
    if spec.columns.text is None and len(table):
        takes = pc.is_valid(read_ids(table, spec.columns.item_id)).to_numpy()
        num_searches = int((~takes).sum())
        table, places = table.filter(pa.array(takes)), places[takes]
    read = normalise_events(table, source, spec, rules)
    ids = read_ids(table, "event_id").take(pa.array(read.rows)) if len(table) else pa.array([], pa.string())
    columns = [*read.accepted.columns, ids, pa.array(places[read.rows], pa.int64())]
    events = pa.table(columns, schema=feedback_schema(spec))
    return Feedback(events=events, read=read, num_searches=num_searches)


def bucket_of(events: pa.Table, num_buckets: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Bucket of each event [N], 0 … num_buckets − 1: the repeats of an event are in one."""
    return hash_ids(pc.fill_null(events["event_id"], ""), _EVENT_KEY) % np.uint64(num_buckets)


def drop_repeats(events: pa.Table) -> pa.Table:
    """Of rows with one event id the earliest, and of several such the one of the lowest place; the order stays.

    Rows without an id are all kept.
    """
    order = pc.sort_indices(events, [("timestamp", "ascending"), ("place", "ascending")]).to_numpy()
    codes = pc.fill_null(pc.index_in(events["event_id"], value_set=_distinct(events["event_id"])), -1).to_numpy()
    _, first = np.unique(codes[order], return_index=True)
    kept = np.zeros(len(events), bool)
    kept[order[first]] = True
    return events.filter(pa.array(kept | (codes < 0)))


def _distinct(ids: pa.ChunkedArray) -> pa.Array:
    return pc.drop_null(pc.unique(ids))
