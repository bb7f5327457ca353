"""What live requests ask for beside the histories; the night's users ask for nothing.

Shapes: B users, I items, X further candidates.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class RequestConstraints:
    """The constraints of B requests."""

    excluded: Bools
    """[B, I] items that must not be in the list."""
    also: Ints
    """[B, X] catalog indices that become candidates too, −1 for none."""
    searching: Bools
    """[B] whether the request has a query."""
    asked: npt.NDArray[np.float64]
    """[B] microseconds since 1970 of the request."""
    candidates: Ints | None = None
    """[B, C] catalog indices, ascending, −1 for none, which come first: exactly these are ranked, whatever is excluded.
    None: candidates are found."""

    def rows(self, users: Ints) -> "RequestConstraints":
        """The constraints of some of the requests, in this order."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        own: dict[str, Any] = {name: None if part is None else part[users] for name, part in parts.items()}
        return RequestConstraints(**own)

    def excluded_pairs(self) -> tuple[Ints, Ints]:
        """(user, item) of all excluded items."""
        users, items = np.nonzero(self.excluded)
        return users, items
