"""Every table and column name of the product, in one place; it knows no computation."""

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

#: Version of the tables below; it is carried by every manifest.
SCHEMA_VERSION = 1

#: Kind of an event that names none.
USUAL_EVENT = "interaction"

INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
    ]
)

#: What a user said at a moment: a review of an item, or a search, which has no item (an empty id).
TEXT = pa.field("text", pa.string(), nullable=False)

#: Interactions where texts of events are read; "" where nothing was said.
INTERACTIONS_WITH_TEXT = INTERACTIONS.append(TEXT)

#: What users are, by user id.
PROFILES = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("profile", pa.string(), nullable=False),
    ]
)

CATALOG = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("available", pa.bool_(), nullable=False),
        pa.field("attributes", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("text_hash", pa.string(), nullable=False),
    ]
)

#: ``item_ids``, ``timestamps``, ``events`` and ``weights`` are parallel lists, oldest first.
#: ``seen_item_ids`` holds each item the user ever touched once, also those older than the history.
#: Where texts of events are read there is ``texts: list<string>`` too, parallel to the others: "" where nothing was
#: said, and a search has "" as its item. Where users are read there is ``profile: string``, "" where nothing is known.
HISTORIES = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("timestamps", pa.list_(TIMESTAMP), nullable=False),
        pa.field("events", pa.list_(pa.string()), nullable=False),
        pa.field("weights", pa.list_(pa.float32()), nullable=False),
        pa.field("seen_item_ids", pa.list_(pa.string()), nullable=False),
    ]
)

TEXTS = pa.field("texts", pa.list_(pa.string()), nullable=False)
PROFILE = PROFILES.field("profile")

RECOMMENDATIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("rank", pa.int16(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
    ]
)

QUARANTINE = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

#: What a user is known to have wanted: distinct items, sorted.
TARGETS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
    ]
)

#: Interactions with each item, most first, then by item id.
ITEM_COUNTS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("num", pa.int64(), nullable=False),
    ]
)

#: Time scales of item-to-item weights: all events count the same, or an event's weight halves with its age.
TIME_SCALES = ("all_time", "decayed")

#: Weight from ``item`` to ``other``, both rows of the night's catalog, by (item, other).
ITEM_NEIGHBOURS = pa.schema(
    [
        pa.field("item", pa.int32(), nullable=False),
        pa.field("other", pa.int32(), nullable=False),
        *(pa.field(scale, pa.float32(), nullable=False) for scale in TIME_SCALES),
    ]
)

#: Which rows of the catalog a user of one shard took, and how much each counts on the time scale `decayed`.
USER_ITEMS = pa.schema(
    [
        pa.field("user", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("decayed", pa.float32(), nullable=False),
    ]
)

#: For each row of the catalog, how many users took it, and how many of them more than once.
ITEM_RETURNS = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in ("users", "again")])

#: For each cold row of the catalog, the rows whose average it gets, and each one's share of that average.
DONORS = pa.schema(
    [
        pa.field("donor", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("share", pa.float32(), nullable=False),
    ]
)

#: Interactions with each row of the catalog on each day since 1970; day −1 stands for all days before the others.
DAY_COUNTS = pa.schema(
    [
        pa.field("day", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("num", pa.int64(), nullable=False),
    ]
)


def text_vectors(dim: int) -> pa.Schema:
    """Stored text vectors of one encoder: ``text_hash`` → ``vector`` of ``dim`` float32."""
    return pa.schema(
        [
            pa.field("text_hash", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def user_text_vectors(dim: int) -> pa.Schema:
    """Vectors of all texts of one night's users: ``text``, sorted → ``vector`` of ``dim`` float32."""
    return pa.schema([TEXT, pa.field("vector", pa.list_(pa.float32(), dim), nullable=False)])


def item_vectors(dim: int) -> pa.Schema:
    """Item vectors of one model: ``item_id`` → ``vector`` of ``dim`` float32."""
    return pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )
