"""A block of users as the signals see them."""

from dataclasses import dataclass, replace

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

    def rows(self, users: npt.NDArray[np.int64]) -> "UserBlock":
        """Some of the users, in this order; they are numbered from 0."""
        return UserBlock(
            profiles=self.profiles.rows(users),
            history=self.history.rows(users),
            texts=self.texts,
            now=self.now[users],
            excluded=self.excluded.of_users(users),
        )

    def excluding(self, pairs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> "UserBlock":
        """The same where further (user, item) pairs are excluded."""
        excluded = ExcludedItems.of([(self.excluded.users, self.excluded.items), pairs])
        return replace(self, excluded=excluded)
