"""Feedback events, which the live service has stored: a second source of events.

This module defines their folder and columns, reads them, and drops events that arrived twice.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.config import EventColumns, EventsInput
from recsys.data.events.interactions import EventRules, NormalisedEvents, interactions_schema, normalise_events
from recsys.data.histories import hash_ids
from recsys.data.values.columns import require_columns
from recsys.data.values.ids import read_ids

#: Folder of the JSON Lines files, below the root of the storage.
FEEDBACK_DIR = "feedback"
#: Columns of the files. Events with the same `event_id` count once.
FEEDBACK_COLUMNS = ("event_id", "user_id", "item_id", "timestamp", "event", "weight", "text")

_EVENT_KEY = "recsys-event-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What one table of feedback contains."""

    events: pa.Table
    """Accepted events in `feedback_schema`, in the order of the rows."""
    read: NormalisedEvents
    """What became of the rows that this night can read."""
    num_searches: int
    """Rows without an item, which are ignored if the config reads no texts of events."""


def feedback_source(path: str, events: EventsInput) -> EventsInput:
    """The feedback in `path` as an input. Its texts are read if those of the events are."""
    columns = EventColumns(event="event", weight="weight", text=None if events.columns.text is None else "text")
    return EventsInput(path=path, format="jsonl", columns=columns, max_text_chars=events.max_text_chars)


def feedback_schema(spec: EventsInput) -> pa.Schema:
    """Interactions with `event_id`, null if there is none, and `place`, the place of the row among all rows read."""
    schema = interactions_schema(spec)
    return schema.append(pa.field("event_id", pa.string())).append(pa.field("place", pa.int64(), nullable=False))


def read_feedback(table: pa.Table, source: str, spec: EventsInput, rules: EventRules, first: int) -> Feedback:
    """Check and clean the rows of a table in the same way as those of events; the first row has the place `first`.

    Raises:
        InputError: a column is missing.
    """
    if table.num_columns:  # a file that holds only an incomplete line has none
        require_columns(table.column_names, FEEDBACK_COLUMNS, source, "inputs.feedback")
    places = np.arange(first, first + len(table))
    num_searches = 0
    if spec.columns.text is None and len(table):
        has_item = pc.is_valid(_ids(table, spec.columns.item_id, rules)).to_numpy()
        num_searches = int((~has_item).sum())
        table, places = table.filter(pa.array(has_item)), places[has_item]
    read = normalise_events(table, source, spec, rules)
    ids = _ids(table, "event_id", rules).take(pa.array(read.rows)) if len(table) else pa.array([], pa.string())
    columns = [*read.accepted.columns, ids, pa.array(places[read.rows], pa.int64())]
    events = pa.table(columns, schema=feedback_schema(spec))
    return Feedback(events=events, read=read, num_searches=num_searches)


def _ids(table: pa.Table, column: str, rules: EventRules) -> pa.ChunkedArray:
    return read_ids(table, column, rules.max_id_chars, rules.missing_values).values


def bucket_of(events: pa.Table, num_buckets: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Bucket of each event [N], 0 … num_buckets − 1; all events with the same event id are in the same bucket."""
    return hash_ids(pc.fill_null(events["event_id"], ""), _EVENT_KEY) % np.uint64(num_buckets)


def drop_repeats(events: pa.Table) -> pa.Table:
    """Keep one row for each event id: the earliest, and of equally early ones that with the lowest place.

    Rows without an event id are all kept. The order of the rows stays.
    """
    order = pc.sort_indices(events, [("timestamp", "ascending"), ("place", "ascending")]).to_numpy()
    codes = pc.fill_null(pc.index_in(events["event_id"], value_set=_distinct(events["event_id"])), -1).to_numpy()
    _, first = np.unique(codes[order], return_index=True)
    kept = np.zeros(len(events), bool)
    kept[order[first]] = True
    return events.filter(pa.array(kept | (codes < 0)))


def _distinct(ids: pa.ChunkedArray) -> pa.Array:
    return pc.drop_null(pc.unique(ids))
