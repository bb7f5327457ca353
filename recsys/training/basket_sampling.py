"""Steps of learning from baskets: some users, and a sample of the catalog that holds their items.

A step reads the texts of its items only, so that its cost does not depend on the size of the catalog.

Shapes: U users, N items of all their baskets, B users of a step, R items of a step.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Baskets:
    """The distinct items of each user."""

    offsets: Ints
    """[U + 1]"""
    items: Ints
    """[N] rows of the catalog."""

    def __len__(self) -> int:
        """U."""
        return len(self.offsets) - 1

    def every(self, step: int, first: int) -> Self:
        """Every so many-th user, from the first."""
        sizes = np.diff(self.offsets)
        own = np.arange(len(self)) % step == first
        offsets = np.concatenate([[0], np.cumsum(sizes[own])]).astype(np.int64)
        return type(self)(offsets, self.items[np.repeat(own, sizes)])

    @classmethod
    def of(cls, users: Ints, items: Ints) -> Self:
        """From pairs [P] of user and item numbers; users with one item teach nothing and are left out."""
        pairs = np.unique(np.stack([users, items], axis=1), axis=0)
        _, user, sizes = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
        kept = pairs[sizes[user] > 1, 1]
        return cls(np.concatenate([[0], np.cumsum(sizes[sizes > 1])]).astype(np.int64), kept.astype(np.int64))


class BasketStep(NamedTuple):
    """What one worker reads in one step."""

    rows: Ints
    """[R] distinct rows of the catalog, sorted."""
    baskets: Floats
    """[B, R] 1 where a user has the item; each user has two at least."""


def draw_step(
    baskets: Baskets, num_users: int, num_items: int, catalog_size: int, random: np.random.Generator
) -> BasketStep:
    """Draw users, and items: those of the users, as far as there is place, then any of the catalog as negatives.

    Args:
        baskets: Of this worker's users; there is one at least.
        num_users: B, at most.
        num_items: R; all items if the catalog has fewer.
        catalog_size: Items of the catalog.
        random: Source of the draws.
    """
    users = random.permutation(len(baskets))[:num_users]
    spans = [baskets.items[baskets.offsets[user] : baskets.offsets[user + 1]] for user in users]
    most = min(num_items, catalog_size)
    chosen: dict[int, None] = {}
    kept = []
    for span in spans:  # whole users while their items have a place; of a long basket, a part
        part = random.permutation(span)[: max(most // 2, 2)]
        if len(chosen) + sum(item not in chosen for item in part.tolist()) > most:
            continue
        chosen.update(dict.fromkeys(part.tolist()))
        kept.append(part)
    # twice as many as are needed: the items of the users may be among them
    for item in random.choice(catalog_size, min(catalog_size, 2 * most), replace=False).tolist():
        if len(chosen) == most:
            break
        chosen[item] = None
    rows = np.array(sorted(chosen), dtype=np.int64)
    matrix = np.zeros((len(kept), len(rows)), dtype=np.float32)
    for row, part in enumerate(kept):
        matrix[row, np.searchsorted(rows, part)] = 1
    return BasketStep(rows, matrix)
