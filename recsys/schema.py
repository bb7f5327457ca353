"""Every table and column name of the product, in one place."""

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

#: Version of the tables below. Every manifest carries it.
SCHEMA_VERSION = 1

#: Kind of an event whose input names no kind.
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

#: What a user said at one time: a review of an item, or a search. A search has an empty item id.
TEXT = pa.field("text", pa.string(), nullable=False)

#: Interactions of a config that reads texts of events. The text is "" where the user said nothing.
INTERACTIONS_WITH_TEXT = INTERACTIONS.append(TEXT)

#: Texts that describe the users.
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
#: ``seen_item_ids`` holds each item the user ever touched once, also those older than the history and those of events
#: that are no positives (weight 0 or less); such events are not in the other lists.
#: A config that reads texts of events adds ``texts: list<string>``, parallel to the others. A text is "" where the user
#: said nothing, and the item of a search is "". A config that reads users adds ``profile: string``, "" where there is
#: none. A config with `recommend.exclude_rejected` adds the columns of REJECTED, and one with `rerank.exclude_served`,
#: also one of an arm of an experiment, those of SERVED.
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
#: Items that the user does not want: their newest events with a weight have a negative one. When these were.
REJECTED = pa.schema(
    [
        pa.field("rejected_item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("rejected_timestamps", pa.list_(TIMESTAMP), nullable=False),
    ]
)

#: What the user was shown since the user last took it, one entry for each impression, oldest first, and when.
SERVED = pa.schema(
    [
        pa.field("served_item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("served_timestamps", pa.list_(TIMESTAMP), nullable=False),
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

#: What a night measured, one number in a row.
METRICS = pa.schema(
    [
        pa.field("run_date", pa.date32(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("segment", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)

#: How often each item of the catalog was recommended and taken.
ITEM_REPORT = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("num_lists", pa.int64(), nullable=False),
        pa.field("num_top_10", pa.int64(), nullable=False),
        pa.field("num_taken", pa.int64(), nullable=False),
        pa.field("is_new", pa.bool_(), nullable=False),
        pa.field("is_tail", pa.bool_(), nullable=False),
    ]
)

#: The counts of lists alone, for each item of the catalog in its order.
ITEM_PLACES = pa.schema([ITEM_REPORT.field(name) for name in ("num_lists", "num_top_10")])

#: The segment of METRICS and REALIZED that holds all users, or all lists.
ALL_USERS = "all"

#: What users did with the lists of past nights, one number in a row.
REALIZED = pa.schema([METRICS.field("run_date"), pa.field("run_id", pa.string(), nullable=False), *list(METRICS)[1:]])

#: For each item of the catalog, the items that go with it best.
SIMILAR_ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("rank", pa.int16(), nullable=False),
        pa.field("similar_item_id", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

#: What the encoder reads of each item of the catalog, where texts are written (`enrich`), and what was written.
ITEM_TEXTS = pa.schema(
    [
        *(CATALOG.field(name) for name in ("item_id", "text", "text_hash")),
        pa.field("summary", pa.string(), nullable=False),
        pa.field("keywords", pa.list_(pa.string()), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt_hash", pa.string(), nullable=False),
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
WRITTEN_TEXTS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("summary", pa.string(), nullable=False),
        pa.field("keywords", pa.list_(pa.string()), nullable=False),
        pa.field("refused", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
    ]
)

#: Facts about items and users as JSON, from which texts are written.
TEXT_FACTS = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("key", "facts")])

#: What users said about an item: `review` or `search`.
ITEM_SAYINGS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        TEXT,
        pa.field("timestamp", TIMESTAMP, nullable=False),
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

#: Held-out items of a user: distinct and sorted.
TARGETS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
    ]
)

#: The last baskets that a training kept out, to validate it: the hash of each user's id, and the time of the basket.
HELD_OUT_BASKETS = pa.schema(
    [
        pa.field("user", pa.uint64(), nullable=False),
        pa.field("timestamp", TIMESTAMP, nullable=False),
    ]
)

#: Number of interactions of each item, sorted by this number (largest first), then by item id.
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

#: Which rows of the catalog a user of one shard took, and how much each counts on both time scales.
USER_ITEMS = pa.schema(
    [
        pa.field("user", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        *(pa.field(scale, pa.float32(), nullable=False) for scale in TIME_SCALES),
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

#: The cold rows of the catalog, with and without donors.
COLD_ITEMS = pa.schema([pa.field("item", pa.int32(), nullable=False)])

#: Interactions with each row of the catalog on each day since 1970, and the sum of their weights; day −1 stands for all
#: days before the others.
DAY_COUNTS = pa.schema(
    [
        pa.field("day", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("num", pa.int64(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
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
