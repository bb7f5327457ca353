"""A row of the table of faults."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.shop import Shop


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

    def numbers(self, shop: Shop, most: int | None) -> list[int]:
        """The tries to make, at most so many, spread over all."""
        total = self.tries if isinstance(self.tries, int) else self.tries(shop)
        wanted = total if most is None else min(most, total)
        return sorted({1 + (total - 1) * place // max(wanted - 1, 1) for place in range(wanted)})
