"""A small share of each list for items that the ranker would not have shown; it knows hashes, no scores.

Without it, feedback comes only from where the model was sure already. Shapes: B users, C candidates.
"""

import datetime as dt
import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.histories import hash_ids
from recsys.ranking.order import Bools, Ints

Keys = npt.NDArray[np.uint64]


def user_keys(purpose: str, user_ids: pa.Array | pa.ChunkedArray, seed: int, date: dt.date) -> Keys:
    """[B] uint64 for a user's draws of one night: by what is drawn, the seed, the night and the id alone."""
    key = hashlib.blake2b(f"{purpose} {seed} {date.isoformat()}".encode(), digest_size=8).hexdigest()
    return hash_ids(user_ids, key)


def fractions(keys: Keys) -> npt.NDArray[np.float64]:
    """[B] the keys as numbers in [0, 1)."""
    return (keys >> np.uint64(11)).astype(np.float64) / 2.0**53


def num_places(share: float, top_k: int) -> int:
    """⌊share · K⌋; 0.29 · 100 is 29, although its float is a little less."""
    return int(np.floor(share * top_k + 1e-9))


def draw(items: Ints, waiting: Bools, keys: Keys, num: int) -> Ints:
    """Draw up to `num` of each user's waiting candidates, all equally likely, without replacement.

    Of M waiting candidates each is drawn with the probability min(1, num / M): the propensity that off-policy
    estimators ask for. A candidate's lot is a hash of the user's key and its item, and the smallest lots win, so that
    neither the order of the candidates nor other users take part.

    Args:
        items: [B, C] int64, distinct for each user.
        waiting: [B, C] which of them may be drawn.
        keys: [B] as `user_keys` gives.
        num: How many to draw.

    Returns:
        [B, min(num, C)] int64 columns, ascending; −1 where a user has fewer.
    """
    lots = _mix(keys[:, None] ^ items.astype(np.uint64))
    order = np.lexsort((items, lots, ~waiting), axis=1)[:, :num]
    drawn = np.where(np.take_along_axis(waiting, order, 1), order, items.shape[1])
    drawn.sort(axis=1)
    return np.where(drawn < items.shape[1], drawn, -1)


def _mix(values: Keys) -> Keys:
    """SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): each bit of the input moves every bit of the output."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
