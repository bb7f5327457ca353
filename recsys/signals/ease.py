"""EASE: a linear item-to-item model over whole histories, in closed form.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019) finds the weights B, zero on the diagonal,
that rebuild each user's row from its other items with least squares: B = I − P · diag(1 / diag P) with
P = (XᵀX + λI)⁻¹. The shards give the users' rows X, and one matrix is inverted. As in `transitions` there are two time
scales: on `all_time` events of any age count the same, on `decayed` a user's item halves with the age of its event.

Shapes: B users, C candidates, N events, H items of the model (the head of the catalog), I items, M weights of an item.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
from pydantic import Field
from scipy.linalg import lapack

from recsys.config.section import Fraction, Positive, Section
from recsys.schema import ITEM_NEIGHBOURS, TIME_SCALES, USER_ITEMS, table_of
from recsys.signals.history_items import HistoryItems
from recsys.signals.neighbour_evidence import LoadedNeighbours, NeighbourEvidence
from recsys.signals.neighbours import TWO_SUMS, Neighbours, Sums
from recsys.signals.signal import (
    CountedShards,
    Counting,
    DataView,
    Explanation,
    NightSource,
    ShardEvents,
    Signal,
)

#: Columns of X that are multiplied at once.
_COLUMNS = 1024
#: Added before the logarithm, so that an item without any weight is unlikely and not impossible.
UNSEEN = np.float32(1e-4)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class EaseConfig(Section):
    """The linear item-to-item model (EASE)."""

    items: Annotated[int, Field(ge=0)] = 8_192
    """Most items of the model, those that most users took beside others; memory grows with the square of it and time
    with its cube. 0 switches the model off."""
    users: Positive = 1_000_000
    """Users after which no further shard is read: a sample is enough."""
    l2: Annotated[float, Field(gt=0)] = 300.0
    """λ, the L2 regularisation of the model, in users who took an item; an event of mean weight counts as one."""
    text_target: Fraction = 0.0
    """Share of `l2` that pulls the weights to those of text-EASE in place of 0 (L3AE). 0 disables it: beside the signal
    `text` it had no measurable effect on validation."""
    half_life_days: Annotated[float, Field(gt=0)] = 10.0
    """Age in days at which what a user took counts half on the time scale `decayed`."""
    neighbours: Positive = 100
    """Largest weights that are kept of an item, on each time scale; as many cold items are added to them."""


class Ease(Signal):
    """What people who chose the same items chose too, by a linear model."""

    name = "ease"
    columns: ClassVar = {
        "ease_all_time": "what goes with the user's last items, over all time",
        "ease_decayed": "what goes with the items of the whole history, mostly of late",
    }
    relates_items = True
    sentences = ("chosen by people who chose {}",)
    section = "ease"
    views: ClassVar[tuple[DataView, ...]] = ("validation", "test", "full")
    counted = USER_ITEMS
    merged = ITEM_NEIGHBOURS
    imputed = True

    def count(self, events: ShardEvents, counting: Counting) -> pa.Table:
        """What each user of one shard took, by user and item."""
        settings: EaseConfig = counting.settings
        return user_items(events.users, events.items, events.age_days, events.weights, settings.half_life_days)

    def merge(self, shards: CountedShards, counting: Counting) -> Iterable[pa.Table]:
        """The largest weights of each item, by (item, other)."""
        settings: EaseConfig = counting.settings
        chosen = most_shared_items(shards.tables(), counting.num_items, settings.items)
        place = np.full(counting.num_items, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        products = [np.zeros((len(chosen), len(chosen)), dtype=np.float32) for _ in range(2)]
        num_users = num_taken = 0
        total = 0.0
        for table in shards.tables():  # users are hashed to shards: the first shards are a sample of them
            if num_users >= settings.users:
                break
            rows = user_rows(table, place, len(chosen))
            for product, matrix in zip(products, rows, strict=True):
                add_products(product, matrix)
            num_users += rows[0].shape[0]
            num_taken += len(table)
            total += float(np.square(table[TIME_SCALES[0]].to_numpy(), dtype=np.float64).sum())
        l2 = settings.l2 * total / max(num_taken, 1)  # in mean weights: only how weights compare matters
        wanted = counting.text_ease if settings.text_target else None
        texts = None if wanted is None else wanted().item_weights(chosen)
        all_time, decayed = (ease_weights(product, l2, texts, settings.text_target) for product in products)
        yield strongest_weights(all_time, decayed, chosen, settings.neighbours)

    def load(self, source: NightSource) -> "LoadedEase":
        """The merged weights of the view."""
        settings: EaseConfig = source.settings
        return LoadedEase(Neighbours.from_table(source.counted(), len(source.item_ids)), settings.neighbours)


class EaseEvidence(NeighbourEvidence):
    """What goes with a block of users' items."""

    #: What the model says always is asked of the last items, what it says of late of the whole history.
    columns = TWO_SUMS
    cold_column = Sums.HISTORY_DECAYED

    def propose(self, num: int) -> Ints:
        """On each time scale a quarter of the items that are asked for."""
        few = max(max(num // 2, 1) // 2, 1)
        return np.concatenate([self.sums.best((column,), few) for column in self.columns], axis=1)

    def measure(self, items: Ints) -> npt.NDArray[np.float32]:
        """[B, C, 2] log(ε + Σ share of the history · weight)."""
        return np.asarray(np.log(self.sums.of(items) + UNSEEN))

    def explain(self, rows: Ints, items: Ints, weights: npt.NDArray[np.float32]) -> Explanation:
        """Names the history item from which the model takes most.

        Each time scale is a sum in a logarithm of its own, so an item's part of it counts as a share of that sum.
        """
        history = HistoryItems.of(self.users.profiles, rows)
        pairs = self.loaded.neighbours.weights_to(history.items, items)
        share = weights[:, 0, None] * _shares(history.last * pairs[:, :, 0])
        share += weights[:, 1, None] * _shares(history.history * pairs[:, :, 1])
        return Explanation.by(history.with_most(share))


class LoadedEase(LoadedNeighbours):
    """The weights of `strongest_weights`."""

    evidence = EaseEvidence


def _shares(parts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(parts / np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny))


def user_items(users: Ints, items: Ints, age_days: Floats, event_weights: Floats, half_life_days: float) -> pa.Table:
    """USER_ITEMS: each item that a user took once, with the square root of its largest weight, by (user, item).

    By the square root the diagonal of XᵀX sums the weights, in the unit of λ. On `decayed` an event's root halves with
    its age.

    Args:
        users: [N] number of each event's user, from 0.
        items: [N] catalog indices, −1 for an item that the catalog does not hold.
        age_days: [N] days from each event to the end of the data view; below 0 counts as 0.
        event_weights: [N] weight of each event, above 0.
        half_life_days: Of the scale `decayed`.
    """
    known = items >= 0
    width = int(items.max(initial=0)) + 1
    keys = users[known] * width + items[known]
    distinct, place = np.unique(keys, return_inverse=True)
    roots = np.sqrt(event_weights[known])
    decayed = roots * np.exp2(-np.maximum(age_days[known], 0) / half_life_days)
    largest = np.zeros((len(TIME_SCALES), len(distinct)))
    for most, values in zip(largest, (roots, decayed), strict=True):
        np.maximum.at(most, place, values)
    user, item = np.divmod(distinct, width)
    return table_of(USER_ITEMS, user, item, *largest.astype(np.float32))


def most_shared_items(tables: Iterable[pa.Table], num_items: int, num: int) -> Ints:
    """Ascending catalog indices of at most ``num`` items that most users took beside another item.

    Other items have no weight to any item. Items with as many users come by index.

    Args:
        tables: USER_ITEMS of each shard.
        num_items: I.
        num: H.
    """
    counts = np.zeros(num_items, dtype=np.int64)
    for table in tables:
        user, item = table["user"].to_numpy(), table["item"].to_numpy()
        took_others = np.bincount(user, minlength=int(user.max(initial=-1)) + 1) > 1
        counts += np.bincount(item[took_others[user]], minlength=num_items)
    order = np.argsort(-counts, kind="stable")[:num]
    return np.sort(order[counts[order] > 0])


def user_rows(table: pa.Table, place: Ints, num_items: int) -> list[sp.csr_array]:
    """What users took, X [U, H] float32 on each of the `TIME_SCALES`.

    Args:
        table: USER_ITEMS of one shard.
        place: [I] place of each item among the H items, −1 for an item that is none of them.
        num_items: H.
    """
    user, item = table["user"].to_numpy(), place[table["item"].to_numpy()]
    chosen = item >= 0
    shape = (int(user.max(initial=-1)) + 1, num_items)
    values = (table[scale].to_numpy()[chosen] for scale in TIME_SCALES)
    return [sp.csr_array((value, (user[chosen], item[chosen])), shape=shape) for value in values]


def add_products(products: npt.NDArray[np.float32], rows: sp.csr_array) -> None:
    """Add XᵀX of some users' rows X [U, H] to `products` [H, H], in place; a few columns at a time, as it is dense."""
    for start in range(0, rows.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        products[columns] += (rows[:, columns].T @ rows).toarray()


def ease_weights(
    gram: npt.NDArray[np.float32], l2: float, texts: tuple[Floats, Floats] | None = None, text_target: float = 0.0
) -> npt.NDArray[np.float32]:
    """B [H, H] of XᵀX; B[i, j] is the weight from i to j.

    With texts a share s of λ pulls B to C = UVᵀ without its diagonal (L3AE: Moon et al., arXiv 2508.13500):
    B = sλ · PUVᵀ − P · diag((1 + sλ · diag(PUVᵀ)) / diag P), zero on the diagonal.

    Args:
        gram: XᵀX [H, H].
        l2: λ > 0, in users who took an item.
        texts: U and V [H, T].
        text_target: s.
    """
    size = len(gram)
    if not size:
        return gram
    matrix = np.array(gram, dtype=np.float64, order="F")
    matrix[np.diag_indices(size)] += l2
    factor, failed = lapack.dpotrf(matrix, lower=1, overwrite_a=1)
    assert failed == 0, "XᵀX + λI is positive definite"
    inverse, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    assert failed == 0, "a triangular factor with a positive diagonal has an inverse"
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    if texts is None:
        weights = inverse / -np.diag(inverse)
    else:
        pulled = text_target * l2 * (inverse @ texts[0]) @ texts[1].T
        weights = pulled - inverse * ((1 + np.diag(pulled)) / np.diag(inverse))
    np.fill_diagonal(weights, 0)
    return np.asarray(weights, dtype=np.float32)


def strongest_weights(
    all_time: npt.NDArray[np.float32], decayed: npt.NDArray[np.float32], items: Ints, neighbours: int
) -> pa.Table:
    """The positive weights that are among an item's M largest on one of the time scales.

    Args:
        all_time: B [H, H] of the scale.
        decayed: B [H, H] of the scale.
        items: [H] ascending catalog indices of the model's items.
        neighbours: M.

    Returns:
        ITEM_NEIGHBOURS by (item, other).
    """
    kept = np.zeros(all_time.shape, dtype=bool)
    for weights in (all_time, decayed):
        num = min(neighbours, len(weights))
        if num:
            largest = np.argpartition(-weights, num - 1, axis=1)[:, :num]
            kept[np.arange(len(weights))[:, None], largest] = True
    kept &= (all_time > 0) | (decayed > 0)
    first, second = np.nonzero(kept)
    weights_of_both = (np.maximum(weights[kept], 0) for weights in (all_time, decayed))
    return table_of(ITEM_NEIGHBOURS, items[first], items[second], *weights_of_both)
