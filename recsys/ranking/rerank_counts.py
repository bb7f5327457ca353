"""What re-ranking did, in numbers that add up."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankCounts:
    """What re-ranking did to a batch. Counts of batches add up: candidates = duplicates + listed + left_out."""

    users: int = 0
    candidates: int = 0
    """Scored candidates that came in."""
    duplicates: int = 0
    """Candidates dropped because the user had the same item with a better score."""
    listed: int = 0
    """Places of all lists that hold an item."""
    left_out: int = 0
    """Distinct candidates that are in no list."""
    moved: dict[str, int] = field(default_factory=dict)
    """Items that each list rule moved, by the rule's name; its class says which items it counts."""
    removed: dict[str, int] = field(default_factory=dict)
    """Pairs of a user and an item that each user rule removed, and nothing before it, by the rule's name."""

    def __add__(self, other: "RerankCounts") -> "RerankCounts":
        return RerankCounts(
            users=self.users + other.users,
            candidates=self.candidates + other.candidates,
            duplicates=self.duplicates + other.duplicates,
            listed=self.listed + other.listed,
            left_out=self.left_out + other.left_out,
            moved=_added(self.moved, other.moved),
            removed=_added(self.removed, other.removed),
        )

    @classmethod
    def sum(cls, counts: Iterable["RerankCounts"]) -> "RerankCounts":
        """All of them together; zeros for none."""
        return sum(counts, start=cls())


def _added(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in dict.fromkeys([*first, *second])}
