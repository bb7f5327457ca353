"""Which kinds of events an input has, which of them make positives, and what to tell people about that."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.events.event_weights import unused_kinds
from recsys.data.events.impressions import is_impression
from recsys.errors import InputError

#: The ranker learns a vector for each of so many kinds, the commonest; other kinds share one.
MOST_KINDS = 1000
#: Messages name at most so many kinds.
_NAMED = 20
_NAMES = ("searches", "positive", "zero", "negative", "impressions")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKinds:
    """Numbers of events by their kind."""

    searches: Counter[str]
    """Events without an item."""
    positive: Counter[str]
    """Events with a weight above 0."""
    zero: Counter[str]
    """Events of weight 0."""
    negative: Counter[str]
    """Events with a negative weight."""
    impressions: Counter[str]
    """Events that say that a user was shown an item, of any weight."""

    @classmethod
    def count(cls, events: pa.Table) -> "EventKinds":
        """Of a table of INTERACTIONS."""
        shown = is_impression(events)
        search = np.asarray(pc.equal(events["item_id"], "")) & ~shown
        counts = ~search & ~shown
        weight = np.asarray(events["weight"])

        def counted(rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Counter[str]:
            found = pc.value_counts(events["event"].filter(pa.array(rows)))
            return Counter({kind["values"]: kind["counts"] for kind in found.to_pylist()})

        return cls(
            searches=counted(search),
            positive=counted(counts & (weight > 0)),
            zero=counted(counts & (weight == 0)),
            negative=counted(counts & (weight < 0)),
            impressions=counted(shown),
        )

    @classmethod
    def sum(cls, parts: Iterable["EventKinds | Mapping[str, Mapping[str, int]]"]) -> "EventKinds":
        """Of several tables, or of their answers of `as_json`."""
        total = cls(**{name: Counter() for name in _NAMES})
        for part in parts:
            for name, counts in (part.as_json() if isinstance(part, EventKinds) else part).items():
                getattr(total, name).update(counts)
        return total

    def as_json(self) -> dict[str, dict[str, int]]:
        """Plain values."""
        return {name: dict(getattr(self, name)) for name in _NAMES}

    @property
    def weightless(self) -> bool:
        """Whether no event has a positive weight, and some have weight 0: then these count as 1."""
        return not self.positive and bool(self.zero)

    @property
    def learned(self) -> list[str]:
        """Kinds of the events that models read, sorted, and at most `MOST_KINDS`."""
        kinds = self.searches + self.positive + (self.zero if self.weightless else Counter())
        return sorted(sorted(kinds, key=lambda kind: (-kinds[kind], kind))[:MOST_KINDS])

    @property
    def non_positive(self) -> dict[str, int]:
        """Events that count for nothing, by kind."""
        return dict(sorted((self.negative if self.weightless else self.zero + self.negative).items()))

    def refuse_only_negative(self) -> None:
        """Refuse events that only say what users do not want.

        Raises:
            InputError: every event has a negative weight.
        """
        if self.negative and not self.searches and not self.positive and not self.zero:
            raise InputError(
                f"inputs.events: all {self.negative.total():,} events have a negative weight "
                f"({_named(self.negative)}), so nothing says what users want; set the weights of their kinds in "
                f"inputs.event_weights, or mend the column inputs.events.columns.weight"
            )

    def warnings(self, event_weights: Iterable[str], has_kinds: bool) -> list[str]:
        """What people should know of the weights.

        Args:
            event_weights: The kinds of `inputs.event_weights`.
            has_kinds: Whether `inputs.events.columns.event` names a column.
        """
        found = []
        if self.weightless:
            found.append(
                f"none of the events has a weight above 0 (weight 0: {_named(self.zero)}), so the events of weight 0 "
                f"count as 1; look at inputs.events.columns.weight and inputs.event_weights"
            )
        kinds = self.searches + self.positive + self.zero + self.negative + self.impressions
        if len(kinds) > MOST_KINDS:
            found.append(
                f"inputs.events.columns.event: there are {len(kinds):,} kinds of events, such as {_named(kinds)}; "
                f"name a column with few kinds, or null"
            )
        unused = unused_kinds(event_weights, kinds)
        if unused:
            where = "" if has_kinds else "; inputs.events.columns.event names no column"
            found.append(
                f"inputs.event_weights: no event is of the kind {', '.join(map(repr, unused))}; there are "
                f"{_named(kinds)}{where}"
            )
        return found


def _named(kinds: Counter[str]) -> str:
    """The commonest kinds with their numbers."""
    named = ", ".join(f"{kind!r} ({num:,})" for kind, num in kinds.most_common(_NAMED))
    return named + (f" and {len(kinds) - _NAMED:,} more" if len(kinds) > _NAMED else "")
