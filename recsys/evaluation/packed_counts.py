"""Counts of the items of a catalog as a text, for the records of workers. Shapes: I items."""

import base64
import zlib

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def pack_counts(counts: npt.NDArray[np.integer]) -> str:
    """Counts [I] below 2³¹ as text for JSON.

    >>> unpack_counts(pack_counts(np.array([3, 0, 1]))).tolist()
    [3, 0, 1]
    """
    return base64.b64encode(zlib.compress(counts.astype("<i4").tobytes(), 1)).decode()


def unpack_counts(text: str) -> Ints:
    """The counts [I] of `pack_counts`."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<i4").astype(np.int64)
