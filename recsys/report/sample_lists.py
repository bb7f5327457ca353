"""What a night's page shows of some users."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleEntry:
    """One place of a sample list."""

    rank: int
    title: str
    score: float
    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleList:
    """One user's list on the page: the newest titles of the history, and the recommended items."""

    user: str
    """Stands for the user; nobody can find the id by it."""
    num_events: int
    history: Sequence[str]
    recommended: Sequence[SampleEntry]
