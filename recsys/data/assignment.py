"""Splits users among the arms of experiments, by a salted hash of their ids. Shapes: N users.

A user's arm depends on the id, the salt and the shares alone: it is the same in every night, in every process and in
the live service. Different salts split independently, so experiments may overlap (Tang et al., KDD 2010).
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.histories import hash_ids

#: `variant` of a list that no experiment changes.
DEFAULT_VARIANT = "default"
#: What the names of experiments and arms are made of, so that a variant can be read again.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
#: Rounding that a sum of shares may have.
SHARE_ROUNDING = 1e-9

_ARM, _NEXT = "/", "+"


def assign_arms(user_ids: pa.Array | pa.ChunkedArray, salt: str, shares: Sequence[float]) -> npt.NDArray[np.int64]:
    """The arm of each user [N], −1 for a user who is in none. An arm gets its share of the users.

    Args:
        user_ids: [N] strings.
        salt: Other salts give unrelated splits.
        shares: Of the arms, each above 0; they add up to at most 1.

    >>> assign_arms(pa.array(["ann", "bob", "eve"]), "colours", [0.5, 0.5]).tolist()
    [1, 1, 0]
    """
    key = hashlib.blake2b(salt.encode(), digest_size=8).hexdigest()
    places = hash_ids(user_ids, key) / 2.0**64
    bounds = np.cumsum(shares)
    if bounds[-1] > 1 - SHARE_ROUNDING:
        bounds[-1] = np.inf
    arms = np.searchsorted(bounds, places, side="right")
    return np.where(arms < len(bounds), arms, -1)


def variant_of(arms: Iterable[tuple[str, str]]) -> str:
    """The text of the column `variant` for (experiment, arm) pairs.

    >>> variant_of([("colours", "red"), ("order", "new")])
    'colours/red+order/new'
    >>> variant_of([])
    'default'
    """
    return _NEXT.join(f"{experiment}{_ARM}{arm}" for experiment, arm in arms) or DEFAULT_VARIANT


def arm_in(variant: str, experiment: str) -> str | None:
    """The arm of one experiment in a variant; None where the list is not part of the experiment.

    >>> arm_in("colours/red+order/new", "order")
    'new'
    """
    pairs = (part.partition(_ARM) for part in variant.split(_NEXT))
    return next((arm for name, _, arm in pairs if name == experiment and arm), None)
