"""What the stages that read leave behind, as JSON: from the inputs to the histories.

A stored record that no longer fits its class is treated as missing: the stage runs again.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT
from recsys.data.checks.bad_values import BadValue
from recsys.pipeline.stage import StageRecord


@dataclass(frozen=True, kw_only=True)
class ReadRows(StageRecord):
    """Counts of the rows of an input."""

    filtered: int
    """Rows that `where` left out."""
    later: int = 0
    """Rows from after the night's date, which wait for their own night."""
    quarantined: int
    forgiven: int = 0
    """Quarantined rows of feedback, which anybody may send: they do not count for `inputs.max_quarantine_rate`."""
    feedback_rows: int = 0
    """Rows of feedback that `where` kept: none of them counts for the limit, bad or good."""
    reasons: dict[str, int]
    """Quarantined rows by reason."""
    lacking: dict[str, int] = field(default_factory=dict)
    """Rows of files without an optional column, by column; it counts as empty there."""
    examples: list[BadValue] = field(default_factory=list)
    """The commonest bad values of each reason."""

    @property
    def num_bad(self) -> int:
        """Rows that count for `inputs.max_quarantine_rate`."""
        return self.quarantined - self.forgiven

    @property
    def bad_rate(self) -> float:
        """Their share of the rows that `where` kept, without those of feedback."""
        return self.num_bad / max(self.rows - self.filtered - self.feedback_rows, 1)


@dataclass(frozen=True, kw_only=True)
class IngestedCatalog(ReadRows):
    """What `ingest_catalog` leaves."""

    items: int
    available: int
    """Items that are not marked as unavailable."""
    texts: int = 1
    """Distinct texts that are not empty; older records do not have it."""
    path: str


@dataclass(frozen=True, kw_only=True)
class IngestedUsers(ReadRows):
    """What `ingest_users` leaves."""

    users: int
    path: str


@dataclass(frozen=True, kw_only=True)
class IngestedEvents(ReadRows):
    """What `ingest_events` leaves."""

    accepted: int
    newest: str
    """Time of the newest event, ISO 8601, UTC; empty without any event."""
    kinds: list[str]
    """Kinds of events of a positive weight, sorted."""
    non_positive: dict[str, int] = field(default_factory=dict)
    """Accepted events of weight 0 or less by kind: they are not learned, counted or predicted."""
    impressions: int = 0
    """Accepted events that say that a user was shown an item: they are not learned, counted or predicted."""
    weightless: bool = False
    """No event has a positive weight, so events of weight 0 count as 1."""
    parts: list[str]
    """Parquet files with the accepted events."""
    feedback: int = 0
    """Accepted events of the live service."""
    feedback_repeats: int = 0
    """Events of the live service that came more than once."""


@dataclass(frozen=True, kw_only=True)
class ValidationUsers:
    """From which users the validation users are drawn."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    days: int
    """They were active in so many days before the cutoff."""
    shares: list[float]
    """Share of them that is drawn, by the length of their history, see `recsys.pipeline.run.LENGTH_BOUNDS`."""


@dataclass(frozen=True, kw_only=True)
class ShuffledHistories(StageRecord):
    """What `shuffle_histories` leaves."""

    users: int
    held_out_users: int
    """Users with events in the holdout."""
    searches: int
    duplicates: int
    non_positives: int = 0
    """Events of weight 0 or less, without duplicates."""
    impressions: int = 0
    """Events that say that a user was shown an item, without duplicates."""
    validation: ValidationUsers
    oldest: str
    """Time of the oldest event, ISO 8601, UTC; without any event, the end of the night's date."""
    shards: list[str]
    """Names of the shards, sorted; users are in them by a hash of their id."""
    path: str
