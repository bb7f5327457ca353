"""What goes over the wire: requests, replies and the one shape of an error; it knows no model and no server.

Limits are those of the HTTP contract. Whatever breaks one is answered with 422 and the field's name.
"""

import datetime as dt
import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

#: Where lists are asked for.
RANKED = "/v1/recommendations"
MAX_BODY_BYTES = 256 * 1024
MAX_HISTORY = 200
MAX_LIST = 500
MAX_QUERY_CHARS = 2000
MAX_ID_CHARS = 256
MAX_EXCLUDED = 1000
MAX_FILTERS = 20
MAX_VALUES = 100
MAX_FEEDBACK = 500

Strategy = Literal["precomputed", "personalized", "query", "popular"]


def _without_controls(text: str) -> str:
    """Control and format characters become blanks, runs of blanks one: what is left can be shown and logged."""
    kept = (" " if unicodedata.category(letter) in ("Cc", "Cf", "Cs") else letter for letter in text)
    return " ".join("".join(kept).split())


def _no_controls(text: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ValueError("must not hold control characters")
    return text


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS), AfterValidator(_no_controls)]
Word = Annotated[str, Field(max_length=MAX_ID_CHARS), AfterValidator(_no_controls)]
Text = Annotated[str, Field(max_length=MAX_QUERY_CHARS), AfterValidator(_without_controls)]


class Contract(BaseModel):
    """A body: unknown fields are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class HistoryEvent(Contract):
    """Something a visitor did in this session."""

    item_id: Id
    """An item of the catalog; one that it does not know is left out, with a warning."""
    timestamp: dt.datetime | None = None
    """When, ISO 8601, UTC where it names no zone; null: as the last of the history."""
    event: Word | None = None
    """Kind of event, as in the events that the nights read; null: the usual kind."""


class RecommendationRequest(Contract):
    """What is known of who asks; nothing at all is fine too."""

    user_id: Id | None = None
    """Who asks. Of a user whom the night knew, the history is read too."""
    history: Annotated[list[HistoryEvent], Field(max_length=MAX_HISTORY)] = []
    """What they did since, oldest first."""
    query: Text | None = None
    """What they search for, in their words."""
    attributes: Annotated[dict[Word, Text], Field(max_length=MAX_FILTERS)] = {}
    """What they are, by the columns of the night's `inputs.users.text`."""
    k: Annotated[int, Field(ge=1, le=MAX_LIST)] | None = None
    """Length of the list; null: as the night's lists."""
    exclude: Annotated[list[Id], Field(max_length=MAX_EXCLUDED)] = []
    """Items that must not be in it."""
    filters: Annotated[
        dict[Word, Word | Annotated[list[Word], Field(min_length=1, max_length=MAX_VALUES)]],
        Field(max_length=MAX_FILTERS),
    ] = {}
    """Attributes of the items, each with the value, or one of the values, that an item must have."""

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


class RecommendedItem(Contract):
    """An item of a list."""

    item_id: str
    rank: int
    """1 is the best."""
    score: float
    """log P(item | what is known), as in the night's lists."""
    title: str
    reason: str
    """Why it is shown, for people."""
    source: str
    """The signal that speaks for it."""


class Recommendations(Contract):
    """A list, and what made it."""

    items: list[RecommendedItem]
    strategy: Strategy
    """How the list came about."""
    run_id: str
    """The night that it is of."""
    model_id: str
    snapshot_age_s: float
    """Seconds since that night was published."""
    warnings: list[str]
    """What of the request was ignored, and why."""


class FeedbackEvent(Contract):
    """An interaction to learn from."""

    event_id: Id
    """Names the event: one that comes twice counts once."""
    user_id: Id
    item_id: Id | None = None
    """What was taken; null for a search, which has a text."""
    timestamp: dt.datetime | None = None
    """When, ISO 8601, UTC where it names no zone; null: now."""
    event: Word | None = None
    """Kind of event; null: `interaction`."""
    weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Strength of the event."""
    text: Text | None = None
    """What was said: a review of the item, or a search."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"event_id": "9f0c", "user_id": "u00001", "item_id": "i0002", "event": "purchase"}]
        }
    )

    @model_validator(mode="after")
    def _says_something(self) -> "FeedbackEvent":
        if self.item_id is None and not self.text:
            raise ValueError("needs an item_id, or a text")
        return self


class FeedbackBatch(Contract):
    """Several interactions at once."""

    events: Annotated[list[FeedbackEvent], Field(min_length=1, max_length=MAX_FEEDBACK)]


class Accepted(Contract):
    """The events are kept, whatever happens to the service now."""

    accepted: int
    """Events that are new."""
    duplicates: int
    """Events that had come before."""


class FoundItem(Contract):
    """An item of the catalog."""

    item_id: str
    title: str


class FoundItems(Contract):
    """Items whose titles hold what was searched for."""

    items: list[FoundItem]


class Fault(Contract):
    """What was wrong."""

    code: str
    """For programs: `invalid`, `unauthorized`, `not_found`, `not_allowed`, `too_large`, `too_many_requests`,
    `not_ready`, `too_slow`, `not_kept`, `failed`."""
    field: str | None
    """The field it is about."""
    message: str
    """For people: the bad value, and the way out."""


class ErrorReply(Contract):
    """The one shape of an error."""

    error: Fault
