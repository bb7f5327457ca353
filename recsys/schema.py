"""Every table and column name of the product, in one place."""

from typing import Any

import numpy.typing as npt
import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

#: Version of the tables below. Every manifest carries it.
SCHEMA_VERSION = 1

#: Kind of an event whose input names no kind.
USUAL_EVENT = "interaction"


def _table(**columns: pa.DataType) -> pa.Schema:
    """Columns that are never null, in their order."""
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


INTERACTIONS = _table(
    user_id=pa.string(),
    item_id=pa.string(),
    timestamp=TIMESTAMP,
    event=pa.string(),
    weight=pa.float32(),
)

#: What a user said at one time: a review of an item, or a search. A search has an empty item id.
TEXT = pa.field("text", pa.string(), nullable=False)

#: Interactions of a config that reads texts of events. The text is "" where the user said nothing.
INTERACTIONS_WITH_TEXT = INTERACTIONS.append(TEXT)

#: Texts that describe the users.
PROFILES = _table(user_id=pa.string(), profile=pa.string())

CATALOG = _table(
    item_id=pa.string(),
    text=pa.string(),
    available=pa.bool_(),
    attributes=pa.map_(pa.string(), pa.string()),
    text_hash=pa.string(),
)

#: ``item_ids``, ``timestamps``, ``events`` and ``weights`` are parallel lists, oldest first.
#: ``seen_item_ids`` holds each item the user ever touched once, also those older than the history and those of events
#: that are no positives (weight 0 or less); such events are not in the other lists.
#: A config that reads texts of events adds ``texts: list<string>``, parallel to the others. A text is "" where the user
#: said nothing, and the item of a search is "". A config that reads users adds ``profile: string``, "" where there is
#: none. A config with `recommend.exclude_rejected` adds the columns of REJECTED, and one with `rerank.exclude_served`,
#: also one of an arm of an experiment, those of SERVED.
HISTORIES = _table(
    user_id=pa.string(),
    item_ids=pa.list_(pa.string()),
    timestamps=pa.list_(TIMESTAMP),
    events=pa.list_(pa.string()),
    weights=pa.list_(pa.float32()),
    seen_item_ids=pa.list_(pa.string()),
)

TEXTS = pa.field("texts", pa.list_(pa.string()), nullable=False)
PROFILE = PROFILES.field("profile")
#: Items that the user does not want: their newest events with a weight have a negative one. When these were.
REJECTED = _table(rejected_item_ids=pa.list_(pa.string()), rejected_timestamps=pa.list_(TIMESTAMP))

#: What the user was shown since the user last took it, one entry for each impression, oldest first, and when.
SERVED = _table(served_item_ids=pa.list_(pa.string()), served_timestamps=pa.list_(TIMESTAMP))

RECOMMENDATIONS = _table(
    user_id=pa.string(),
    rank=pa.int16(),
    item_id=pa.string(),
    score=pa.float32(),
    source=pa.string(),
    reason=pa.string(),
    variant=pa.string(),
)

#: What a night measured, one number in a row.
METRICS = pa.schema(
    [
        *_table(run_date=pa.date32(), metric=pa.string(), segment=pa.string(), value=pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)

#: How often each item of the catalog was recommended and taken.
ITEM_REPORT = _table(
    item_id=pa.string(),
    num_lists=pa.int64(),
    num_top_10=pa.int64(),
    num_taken=pa.int64(),
    is_new=pa.bool_(),
    is_tail=pa.bool_(),
)

#: The counts of lists alone, for each item of the catalog in its order.
ITEM_PLACES = pa.schema([ITEM_REPORT.field(name) for name in ("num_lists", "num_top_10")])

#: The segment of METRICS and REALIZED that holds all users, or all lists.
ALL_USERS = "all"

#: What users did with the lists of past nights, one number in a row.
REALIZED = pa.schema([METRICS.field("run_date"), pa.field("run_id", pa.string(), nullable=False), *list(METRICS)[1:]])

#: For each item of the catalog, the items that go with it best.
SIMILAR_ITEMS = _table(
    item_id=pa.string(),
    rank=pa.int16(),
    similar_item_id=pa.string(),
    score=pa.float32(),
    source=pa.string(),
    reason=pa.string(),
)

#: What the encoder reads of each item of the catalog, where texts are written (`enrich`), and what was written.
ITEM_TEXTS = pa.schema(
    [
        *(CATALOG.field(name) for name in ("item_id", "text", "text_hash")),
        *_table(summary=pa.string(), keywords=pa.list_(pa.string()), model=pa.string(), prompt_hash=pa.string()),
    ]
)

#: Profiles that were written about users (`enrich.users`).
USER_PROFILES = pa.schema(
    [
        *PROFILES,
        *(ITEM_TEXTS.field(name) for name in ("summary", "keywords", "model", "prompt_hash")),
        pa.field("until", TIMESTAMP),
    ]
)

#: Stored texts of one writer: a back end with its model and prompts. `key` is a hash of the facts.
WRITTEN_TEXTS = _table(
    key=pa.string(),
    summary=pa.string(),
    keywords=pa.list_(pa.string()),
    refused=pa.string(),
    error=pa.string(),
    input_tokens=pa.int64(),
    output_tokens=pa.int64(),
)

#: Facts about items and users as JSON, from which texts are written.
TEXT_FACTS = _table(key=pa.string(), facts=pa.string())

#: What users said about an item: `review` or `search`.
ITEM_SAYINGS = _table(item_id=pa.string(), kind=pa.string(), text=pa.string(), timestamp=TIMESTAMP)

QUARANTINE = _table(
    source=pa.string(),
    row=pa.string(),
    column=pa.string(),
    reason=pa.string(),
)

#: Held-out items of a user: distinct and sorted.
TARGETS = _table(user_id=pa.string(), item_ids=pa.list_(pa.string()))

#: The last baskets that a training kept out, to validate it: the hash of each user's id, and the time of the basket.
HELD_OUT_BASKETS = _table(user=pa.uint64(), timestamp=TIMESTAMP)

#: Number of interactions of each item, sorted by this number (largest first), then by item id.
ITEM_COUNTS = _table(item_id=pa.string(), num=pa.int64())

#: Time scales of item-to-item weights: all events count the same, or an event's weight halves with its age.
TIME_SCALES = ("all_time", "decayed")

#: Weight from ``item`` to ``other``, both rows of the night's catalog, by (item, other).
ITEM_NEIGHBOURS = _table(item=pa.int32(), other=pa.int32(), **dict.fromkeys(TIME_SCALES, pa.float32()))

#: Which rows of the catalog a user of one shard took, and how much each counts on both time scales.
USER_ITEMS = _table(user=pa.int32(), item=pa.int32(), **dict.fromkeys(TIME_SCALES, pa.float32()))

#: For each row of the catalog, how many users took it, and how many of them more than once.
ITEM_RETURNS = _table(users=pa.int64(), again=pa.int64())

#: For each cold row of the catalog, the rows whose average it gets, and each one's share of that average.
DONORS = _table(
    donor=pa.int32(),
    item=pa.int32(),
    share=pa.float32(),
)

#: The cold rows of the catalog, with and without donors.
COLD_ITEMS = _table(item=pa.int32())

#: Interactions with each row of the catalog on each day since 1970, and the sum of their weights; day −1 stands for all
#: days before the others.
DAY_COUNTS = _table(
    day=pa.int32(),
    item=pa.int32(),
    num=pa.int64(),
    weight=pa.float64(),
)


def table_of(schema: pa.Schema, *columns: npt.NDArray[Any]) -> pa.Table:
    """A table of these columns, cast to the types of the schema."""
    arrays = [pa.array(column).cast(field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def text_vectors(dim: int) -> pa.Schema:
    """Stored text vectors of one encoder: ``text_hash`` → ``vector`` of ``dim`` float32."""
    return _table(text_hash=pa.string(), vector=pa.list_(pa.float32(), dim))


def user_text_vectors(dim: int) -> pa.Schema:
    """Vectors of all texts of one night's users: ``text``, sorted → ``vector`` of ``dim`` float32."""
    return _table(text=pa.string(), vector=pa.list_(pa.float32(), dim))


def item_vectors(dim: int) -> pa.Schema:
    """Item vectors of one model: ``item_id`` → ``vector`` of ``dim`` float32."""
    return _table(item_id=pa.string(), vector=pa.list_(pa.float32(), dim))
