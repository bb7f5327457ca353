"""Every table and column name of the product, in one place; it knows no computation."""

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

#: Version of the tables below; it is carried by every manifest.
SCHEMA_VERSION = 1

INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
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


def text_vectors(dim: int) -> pa.Schema:
    """Stored text vectors of one encoder: ``text_hash`` → ``vector`` of ``dim`` float32."""
    return pa.schema(
        [
            pa.field("text_hash", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def item_vectors(dim: int) -> pa.Schema:
    """Item vectors of one model: ``item_id`` → ``vector`` of ``dim`` float32."""
    return pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )
