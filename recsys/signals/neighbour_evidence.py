"""What the signals that lead from item to item, `transitions` and `ease`, have in common once they are loaded.

Shapes: B users, N cold items.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recsys.signals.donors import Donors
from recsys.signals.neighbours import Neighbours, Sums
from recsys.signals.signal import Evidence, LoadedSignal
from recsys.signals.users import UserBlock


class NeighbourEvidence(Evidence):
    """The summed weights from a block of users' items to their neighbours."""

    loaded: "LoadedNeighbours"
    columns: ClassVar[tuple[Sums, ...]]
    """The sums that the signal reads."""
    cold_column: ClassVar[Sums]
    """The one of them that chooses cold items."""

    def __init__(self, loaded: "LoadedNeighbours", users: UserBlock) -> None:
        """Sums up the weights of the users' items."""
        super().__init__(loaded, users)
        self.sums = loaded.neighbours.sum_up(users.profiles, self.columns)

    def cold_scores(self, items: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """[B, N] the sum `cold_column`."""
        return self.sums.to_all(items, self.cold_column)


class LoadedNeighbours(LoadedSignal):
    """The strongest weights from each item to others."""

    evidence: ClassVar[type[NeighbourEvidence]]
    """What reads them for a block of users."""

    def __init__(self, neighbours: Neighbours, most_cold: int) -> None:
        """Keep the weights.

        Args:
            neighbours: The merged weights of the signal.
            most_cold: Cold items that an item leads to once they are imputed: as many as it has other neighbours.
        """
        self.neighbours, self.most_cold = neighbours, most_cold

    def impute(self, donors: Donors) -> "LoadedNeighbours":
        """What leads to the donors leads to a cold item."""
        return type(self)(self.neighbours.impute(donors, self.most_cold), self.most_cold)

    def read(self, users: UserBlock) -> NeighbourEvidence:
        """Sum up the weights of the users' items."""
        return self.evidence(self, users)
