"""Random numbers of users that are the same on every worker and in every batch. Shapes: B users."""

import datetime as dt
import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.histories import hash_ids

Keys = npt.NDArray[np.uint64]


def user_keys(purpose: str, user_ids: pa.Array | pa.ChunkedArray, seed: int, date: dt.date) -> Keys:
    """[B] uint64 random keys, which depend only on the purpose, the seed, the night's date and the user's id."""
    key = hashlib.blake2b(f"{purpose} {seed} {date.isoformat()}".encode(), digest_size=8).hexdigest()
    return hash_ids(user_ids, key)


def fractions(keys: Keys) -> npt.NDArray[np.float64]:
    """[B] the keys as numbers in [0, 1)."""
    return (keys >> np.uint64(11)).astype(np.float64) / 2.0**53


def mixed(values: Keys) -> Keys:
    """SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): each bit of the input changes every bit of the output."""
    spread = values + np.uint64(0x9E3779B97F4A7C15)
    spread = (spread ^ (spread >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    spread = (spread ^ (spread >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return spread ^ (spread >> np.uint64(31))
