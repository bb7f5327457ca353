"""What an event counts: its own weight times the weight of its kind.

A weight above 0 makes a positive, which is learned, counted and predicted. A weight of 0 or less makes none. A negative
weight says that the user does not want the item.

Shapes: N events.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: Weights of kinds by which people say that they do not want an item. `inputs.event_weights` may say otherwise.
BUILT_IN: dict[str, float] = dict.fromkeys(
    (
        "return",
        "returned",
        "refund",
        "refunded",
        "cancel",
        "canceled",
        "cancelled",
        "order_refunded",
        "order_canceled",
        "order_cancelled",
        "wc_refunded",
        "wc_cancelled",
        "dislike",
        "disliked",
        "thumbs_down",
        "downvote",
        "not_interested",
        "remove",
        "removed",
        "remove_from_cart",
        "remove_from_wishlist",
        "removed_from_cart",
        "removed_from_wishlist",
        "product_removed",
        "product_removed_from_wishlist",
        "hide",
    ),
    -1.0,
)

#: The kind of events that say that a user was shown an item, see `recsys.data.events.impressions`.
IMPRESSION = "impression"
BUILT_IN[IMPRESSION] = 0.0

#: A smaller weight would be stored as 0, which is no positive.
_SMALLEST = float(np.finfo(np.float32).tiny)

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def plain_kind(kind: str) -> str:
    """The spelling by which kinds are compared: lower case, with `_` for blanks and hyphens, and whole numbers.

    >>> plain_kind(" Remove-from Cart"), plain_kind("4.0")
    ('remove_from_cart', '4')
    """
    plain = re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFKC", kind).strip().casefold())
    return re.sub(r"^(\d+)\.0+$", r"\1", plain)


def are_of_kinds(events: pa.Array | pa.ChunkedArray, kinds: Iterable[str]) -> Bools:
    """[N] whether each event is of one of these kinds, however they are spelled.

    >>> are_of_kinds(pa.array(["Purchase", "view", "Add to cart"]), ["purchase", "add_to_cart"]).tolist()
    [True, False, True]
    """
    wanted = {plain_kind(kind) for kind in kinds}
    distinct = pc.unique(events)
    matching = distinct.filter(pa.array([plain_kind(kind) in wanted for kind in distinct.to_pylist()], pa.bool_()))
    return np.asarray(pc.is_in(events, value_set=matching), dtype=bool)


def weights_of_kinds(kinds: pa.Array | pa.ChunkedArray, configured: Mapping[str, float]) -> Floats:
    """[N] weight of each kind: as `inputs.event_weights` says, else the built-in weight, else 1.

    >>> weights_of_kinds(pa.array(["Purchase", "view", "return"]), {"purchase": 3.0}).tolist()
    [3.0, 1.0, -1.0]
    """
    known = BUILT_IN | {plain_kind(kind): weight for kind, weight in configured.items()}
    distinct = pc.unique(kinds)
    of_distinct = np.array([known.get(plain_kind(kind), 1.0) for kind in distinct.to_pylist()], dtype=np.float64)
    places = pc.index_in(kinds, value_set=distinct).to_numpy(zero_copy_only=False)
    return np.asarray(of_distinct[places.astype(np.int64)])


def weights_of_events(own: Floats, of_kinds: Floats) -> Floats:
    """[N] the product, negative where one of both is: a returned quantity of −2 is no purchase of 2.

    >>> weights_of_events(np.array([2.0, -2.0, 2.0, -2.0, 0.0]), np.array([3.0, 3.0, -1.0, -1.0, -1.0])).tolist()
    [6.0, -6.0, -2.0, -2.0, 0.0]
    """
    with np.errstate(over="ignore"):  # too large a product is infinite, and the event is refused
        size = np.abs(own * of_kinds)
    size = np.where(size > 0, np.maximum(size, _SMALLEST), 0.0)
    negative = ((own < 0) | (of_kinds < 0)) & (size > 0)
    return np.asarray(np.where(negative, -size, size))


def unused_kinds(configured: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """The configured kinds that no event has, in their order."""
    there = {plain_kind(kind) for kind in kinds}
    return [kind for kind in configured if plain_kind(kind) not in there]
