"""A block of users as the signals see them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.model.features import HistoryBatch, UserTexts
from recsys.signals.excluded import ExcludedItems
from recsys.signals.user_profiles import UserProfiles


@dataclass(frozen=True, slots=True, kw_only=True)
class UserBlock:
    """B users who are scored together."""

    profiles: UserProfiles
    """What they took and searched for, as sparse rows over the catalog."""
    history: HistoryBatch
    """Their newest events, as the ranker reads them."""
    texts: UserTexts
    """The texts that the histories refer to, with their vectors."""
    now: npt.NDArray[np.float64]
    """[B] microseconds since 1970 at which each user is scored."""
    excluded: ExcludedItems
    """Items that must not be in their lists."""

    def __len__(self) -> int:
        return len(self.now)
