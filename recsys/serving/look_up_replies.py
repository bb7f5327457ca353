"""The replies to look-ups of items and of users of the nightly run."""

import datetime as dt

from recsys.serving.contracts import Contract, RecommendedItem


class FoundItem(Contract):
    """An item of the catalog."""

    item_id: str
    title: str


class FoundItems(Contract):
    """Items whose title contains every word of the search."""

    items: list[FoundItem]


class SimilarItems(Contract):
    """Items that go with an item, best first."""

    item: FoundItem
    """The item that was asked for."""
    items: list[RecommendedItem]
    """A score is log P(similar item | a user has just taken the item); scores of one answer can be compared."""
    run_id: str
    model_id: str
    snapshot_age_s: float
    """Seconds since that run was published."""


class PastEvent(Contract):
    """An event of the history that the nightly run read."""

    item_id: str
    title: str
    """Title of the item; its id where it has left the catalog."""
    event: str
    timestamp: dt.datetime


class ExplainedItem(RecommendedItem):
    """An item of a list, and what each signal says for it."""

    contributions: dict[str, float]
    """How far each signal lifts the item above the user's other candidates, in nats, by the name of the signal. Of two
    items the difference of the sums is the difference of their log P."""


class ExplainedUser(Contract):
    """A user of the nightly run: the history, and the list with what each signal says."""

    user_id: str
    history: list[PastEvent]
    """Newest first."""
    items: list[ExplainedItem]
    """The list, ranked again by the model of the night without exploration."""
    run_id: str
    model_id: str
    snapshot_age_s: float
    """Seconds since that run was published."""
