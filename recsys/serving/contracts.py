"""The bodies of the HTTP API: requests, replies and the error reply. A value above a limit is answered with 422."""

import datetime as dt
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from recsys.data.assignment import DEFAULT_VARIANT
from recsys.data.values.ids import normal_id

#: The paths of requests that are ranked.
RECOMMENDATIONS_PATH = "/v1/recommendations"
RANK_PATH = "/v1/rank"
MAX_BODY_BYTES = 256 * 1024
MAX_HISTORY = 200
MAX_LIST = 500
MAX_QUERY_CHARS = 2000
#: So long that a path with an id fits into the 16 KiB that HAProxy takes, with four encoded bytes a character.
#: `inputs.max_id_chars` may set a lower limit, which the service checks, see `too_long_id`.
MAX_ID_CHARS = 1024
MAX_WORD_CHARS = 256
MAX_EXCLUDED = 1000
MAX_CANDIDATES = 1000
MAX_FILTERS = 20
MAX_VALUES = 100
MAX_FEEDBACK = 500

#: The two bodies of feedback, as pydantic names them first in the place of an error.
FEEDBACK_KINDS = (_EVENT, _BATCH) = ("<event>", "<batch>")

Strategy = Literal["precomputed", "personalized", "query", "popular"]


def _without_controls(text: str) -> str:
    """Replace control and format characters by blanks and each run of blanks by one, so that the text can be shown."""
    kept = (" " if unicodedata.category(letter) in ("Cc", "Cf", "Cs") else letter for letter in text)
    return " ".join("".join(kept).split())


def _no_controls(text: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ValueError("must not contain control characters")
    return text


# Ids become as the night spells them, so that they are found however a caller spells them.
Id = Annotated[
    str, Field(min_length=1, max_length=MAX_ID_CHARS), AfterValidator(_no_controls), AfterValidator(normal_id)
]
PathId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS), AfterValidator(normal_id)]
Word = Annotated[str, Field(max_length=MAX_WORD_CHARS), AfterValidator(_no_controls)]
Text = Annotated[str, Field(max_length=MAX_QUERY_CHARS), AfterValidator(_without_controls)]


class Contract(BaseModel):
    """A body: unknown fields are errors, and objects are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class HistoryEvent(Contract):
    """Something that the user did in this session."""

    item_id: Id
    """An item of the catalog; an unknown item is left out, with a warning."""
    timestamp: dt.datetime | None = None
    """ISO 8601, UTC where it has no zone; null: the timestamp of the event before, or now."""
    event: Word | None = None
    """Kind of event, as in the events of the nightly run; null: `interaction`."""


class Visitor(Contract):
    """What is known of a user."""

    user_id: Id | None = None
    """The user. If the nightly run knew this user, the stored history is read too."""
    history: Annotated[list[HistoryEvent], Field(max_length=MAX_HISTORY)] = []
    """What the user did in this session, oldest first."""
    query: Text | None = None
    """What the user searches for, in the user's own words."""
    attributes: Annotated[dict[Word, Text], Field(max_length=MAX_FILTERS)] = {}
    """Attributes of the user: the columns of the setting `inputs.users.text`."""

    def visitor_ids(self) -> Iterator[tuple[str, str | None]]:
        """Each id of the visitor with its field."""
        yield "user_id", self.user_id
        yield from ((f"history.{place}.item_id", event.item_id) for place, event in enumerate(self.history))


class RecommendationRequest(Visitor):
    """What is known of the user, and what the list should be like; an empty body is valid."""

    k: Annotated[int, Field(ge=1, le=MAX_LIST)] | None = None
    """Length of the list; null: the length of the published lists."""
    exclude: Annotated[list[Id], Field(max_length=MAX_EXCLUDED)] = []
    """Items that must not be in the list."""
    filters: Annotated[
        dict[Word, Word | Annotated[list[Word], Field(min_length=1, max_length=MAX_VALUES)]],
        Field(max_length=MAX_FILTERS),
    ] = {}
    """Attributes of items, each with the value, or the list of values, that an item must have."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"history": [{"item_id": "i0001"}], "k": 10},
                {"query": "red heart lantern", "k": 10},
                {"user_id": "u00001", "history": [{"item_id": "i0002", "event": "view"}]},
                {},
            ]
        }
    )

    def ids(self) -> Iterator[tuple[str, str | None]]:
        """Each id with its field."""
        yield from self.visitor_ids()
        yield from ((f"exclude.{place}", item_id) for place, item_id in enumerate(self.exclude))


class RankRequest(Visitor):
    """What is known of the user, and the items to rank."""

    candidates: Annotated[list[Id], Field(min_length=1, max_length=MAX_CANDIDATES)]
    """Items of the catalog, in any order; an item that is named again counts once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"candidates": ["i0001", "i0002", "i0003"], "history": [{"item_id": "i0004"}]},
                {"candidates": ["i0001", "i0002", "i0003"], "user_id": "u00001", "query": "red heart lantern"},
            ]
        }
    )

    def ids(self) -> Iterator[tuple[str, str | None]]:
        """Each id with its field."""
        yield from self.visitor_ids()
        yield from ((f"candidates.{place}", item_id) for place, item_id in enumerate(self.candidates))


class RecommendedItem(Contract):
    """An item of a list."""

    item_id: str
    rank: int
    """1 is the best."""
    score: float
    """log P(item | user), as in the published lists."""
    title: str
    reason: str
    """A sentence for people: why the item is recommended."""
    source: str
    """The signal that contributed most to the score."""


class UnderstoodQuery(Contract):
    """What the service understood of a search beside its text; items that it excludes are not in the list."""

    text: str
    """What the model reads; empty where the search says only what is not wanted: then it reads the whole search."""
    unwanted: list[str]
    """Phrases; items with all words of one of them are excluded."""
    lowest: float | None
    """Least price; null: any."""
    highest: float | None
    """Largest price; null: any."""


class Recommendations(Contract):
    """A ranked list, and how it was made."""

    items: list[RecommendedItem]
    strategy: Strategy
    """`precomputed`: published by the nightly run; `personalized`, `query`, `popular`: ranked now."""
    variant: str = DEFAULT_VARIANT
    """Arms of the experiments that the user is in, as in the table of the lists. Anonymous users are in none."""
    run_id: str
    """The nightly run that the list is of."""
    model_id: str
    snapshot_age_s: float
    """Seconds since that run was published."""
    warnings: list[str]
    """Parts of the request that were ignored, and why."""
    understood: UnderstoodQuery | None = None
    """What the search excluded; null: nothing."""


class RankedCandidates(Contract):
    """The candidates of a request in their order, best first."""

    items: list[RecommendedItem]
    """All candidates that the catalog has; a score is log P(item | user) among them."""
    unknown: list[str]
    """Candidates that the catalog does not have, in the order of the request."""
    strategy: Strategy
    """`personalized`, `query`, or `popular` where nothing is known of the user."""
    variant: str = DEFAULT_VARIANT
    """Arms of the experiments that the user is in."""
    run_id: str
    """The nightly run whose model ranked."""
    model_id: str
    snapshot_age_s: float
    """Seconds since that run was published."""
    warnings: list[str]
    """Parts of the request that were ignored, and why."""


class FeedbackEvent(Contract):
    """An interaction to learn from."""

    event_id: Id
    """An id of the event: events with the same id count once."""
    user_id: Id
    item_id: Id | None = None
    """The item; null for a search, which has a text."""
    timestamp: dt.datetime | None = None
    """ISO 8601, UTC where it has no zone; null: now."""
    event: Word | None = None
    """Kind of event; null: `interaction`."""
    weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Strength of the event."""
    text: Text | None = None
    """A review of the item, or the words of a search."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"event_id": "9f0c", "user_id": "u00001", "item_id": "i0002", "event": "purchase"}]
        }
    )

    @model_validator(mode="after")
    def _has_item_or_text(self) -> "FeedbackEvent":
        if self.item_id is None and not self.text:
            raise ValueError("needs an item_id, or a text")
        return self


class FeedbackBatch(Contract):
    """Several interactions at once."""

    events: Annotated[list[FeedbackEvent], Field(min_length=1, max_length=MAX_FEEDBACK)]


def _feedback_kind(body: Any) -> str:
    return _BATCH if isinstance(body, dict) and "events" in body else _EVENT


#: Body of feedback. `events` decides which of the two it is, so that an error is about the fields of that one.
FeedbackBody = Annotated[
    Annotated[FeedbackEvent, Tag(_EVENT)] | Annotated[FeedbackBatch, Tag(_BATCH)], Discriminator(_feedback_kind)
]


class Accepted(Contract):
    """The events are stored durably."""

    accepted: int
    """New events."""
    duplicates: int
    """Events that were stored before."""


class ErrorDetail(Contract):
    """What went wrong."""

    code: str
    """For programs: `invalid`, `unauthorized`, `not_found`, `not_allowed`, `too_large`, `too_many_requests`,
    `not_ready`, `too_slow`, `not_kept`, `unreadable`, `failed`."""
    field: str | None
    """The wrong field; null: the error is not about one field."""
    message: str
    """For people: the bad value, and what to do."""


class ErrorReply(Contract):
    """The body of every error."""

    error: ErrorDetail


def too_long_id(fields: Iterable[tuple[str, str | None]], limit: int) -> ErrorDetail | None:
    """The error of the first of (field, id) with more characters than `inputs.max_id_chars`; None: there is none."""
    for field, value in fields:
        if value is not None and len(value) > limit:
            message = f"{field}: an id has at most {limit} characters (inputs.max_id_chars), got {len(value)}"
            return ErrorDetail(code="invalid", field=field, message=message)
    return None
