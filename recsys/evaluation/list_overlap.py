"""What stays of a user's list from one night to the next. Shapes: R rows of lists."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict

from recsys.config.strict_json import STRICT

#: Places of a list that are compared at most.
PLACES = 10


@dataclass(frozen=True, kw_only=True)
class ListOverlap:
    """Which share of tonight's first items was among the user's first items the night before."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    run_id: str
    """The night before."""
    users: int
    """Compared users: they have a list in both nights. In a large night they are a part, chosen by hash."""
    places: int = PLACES
    """First places that were compared: `PLACES`, or fewer where the lists of one night are shorter."""
    mean: float
    tenths: list[int]
    """Users by their share, rounded to tenths: 11 numbers."""


def shared_places(tonight: pa.Table, before: pa.Table) -> npt.NDArray[np.float64]:
    """The share of each user of both nights, in any order.

    Args:
        tonight: `user_id` and `item_id` of the compared places.
        before: The same of the night before.

    >>> tonight = pa.table({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"]})
    >>> before = pa.table({"user_id": ["a", "a", "c"], "item_id": ["y", "z", "x"]})
    >>> shared_places(tonight, before).tolist()
    [0.5]
    """
    users = pc.unique(before["user_id"])
    tonight = tonight.filter(pc.is_in(tonight["user_id"], value_set=users))
    if not len(tonight):
        return np.zeros(0)
    items = pc.unique(pa.chunked_array([*tonight["item_id"].chunks, *before["item_id"].chunks]))

    def pairs(lists: pa.Table) -> npt.NDArray[np.int64]:
        user, item = (
            np.asarray(pc.index_in(lists[name], value_set=known)).astype(np.int64)
            for name, known in (("user_id", users), ("item_id", items))
        )
        return user * len(items) + item

    ours = pairs(tonight)
    owners = ours // len(items)
    lengths = np.bincount(owners, minlength=len(users))
    kept = np.bincount(owners, weights=np.isin(ours, pairs(before)), minlength=len(users))
    shares: npt.NDArray[np.float64] = kept[lengths > 0] / lengths[lengths > 0]
    return shares


def count_tenths(shares: npt.NDArray[np.float64]) -> list[int]:
    """Users by their share, rounded to tenths: 11 numbers."""
    tenths: list[int] = np.bincount(np.rint(shares * 10).astype(np.int64), minlength=11).tolist()
    return tenths
