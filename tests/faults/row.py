"""A row of the table of faults."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.findings import MissedError
from tests.faults.shop import Shop

#: How often a try is begun until its fault is made.
_MOST_BEGUN = 5


@dataclass(frozen=True)
class Row:
    """One kind of fault, and how often it is tried."""

    name: str
    tries: int | Callable[[Shop], int]
    """How often `make faults` tries it; a function where that depends on the shop."""
    attempt: Callable[[Shop, int], None]
    """Does the fault once and checks what is left; the number, from 1, chooses which step, file or moment.

    It raises one of `findings`. Any other error counts as lost.
    """
    quick: int
    """How often `make test` tries it."""
    impossible: Callable[[], str] = str
    """Why this machine cannot make the fault; empty where it can."""

    def make(self, shop: Shop, number: int) -> None:
        """Make the try of this number, again where its fault came too late."""
        for _ in range(_MOST_BEGUN - 1):
            try:
                return self.attempt(shop, number)
            except MissedError:
                shop.end()
        return self.attempt(shop, number)

    def numbers(self, shop: Shop, most: int | None) -> list[int]:
        """The tries to make, at most so many, spread over all."""
        total = self.tries if isinstance(self.tries, int) else self.tries(shop)
        wanted = total if most is None else min(most, total)
        return sorted({1 + (total - 1) * place // max(wanted - 1, 1) for place in range(wanted)})
