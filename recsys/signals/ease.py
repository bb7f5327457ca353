"""A linear item-to-item model over whole histories; it knows catalog indices, no models and no shards.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019): the weights B, zero on the diagonal, that
rebuild each user's row from its other items with least squares. In closed form B = I − P · diag(1 / diag P) with
P = (XᵀX + λI)⁻¹, so nothing is trained: shards add up their XᵀX, and one matrix is inverted. As in `transitions` it is
made on two time scales: `lasting` weighs all events alike, in `recent` a user's item halves with the age of its newest
event, so that people who shopped long ago hardly count.

Shapes: N interactions, H items of the model (the head of the catalog), I items of the catalog, M weights of an item.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
from scipy.linalg import lapack

from recsys.schema import TRANSITIONS

#: Columns of X that are multiplied at once.
_COLUMNS = 1024

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def user_rows(users: Ints, items: Ints, age_days: Floats, num_items: int, half_life_days: float) -> list[sp.csr_array]:
    """What users took, [U, H] float32 on both time scales.

    Args:
        users: [N] number of each event's user, from 0.
        items: [N] places among the H items, −1 for none of them.
        age_days: [N] days from each event to the moment that is looked from; below 0 counts as 0.
        num_items: H.
        half_life_days: Of the scale `recent`.
    """
    there = items >= 0
    keys = users[there] * num_items + items[there]
    distinct, place = np.unique(keys, return_inverse=True)
    newest = np.full(len(distinct), np.inf)
    np.minimum.at(newest, place, np.maximum(age_days[there], 0))
    rows, columns = np.divmod(distinct, max(num_items, 1))
    shape = (int(users.max(initial=-1)) + 1, num_items)
    values = (np.ones(len(distinct)), np.exp2(-newest / half_life_days))
    return [sp.csr_array((value.astype(np.float32), (rows, columns)), shape=shape) for value in values]


def add_products(products: npt.NDArray[np.float32], rows: sp.csr_array) -> None:
    """Add XᵀX of some users' rows X [U, H] to `products` [H, H], in place; a few columns at a time, as it is dense."""
    for start in range(0, rows.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        products[columns] += (rows[:, columns].T @ rows).toarray()


def ease_weights(gram: npt.NDArray[np.float32], ridge: float) -> npt.NDArray[np.float32]:
    """B [H, H] of XᵀX; B[i, j] is what having taken i says for j.

    Args:
        gram: XᵀX [H, H].
        ridge: λ > 0, in users who took an item.
    """
    size = len(gram)
    if not size:
        return gram
    matrix = np.array(gram, dtype=np.float64, order="F")
    matrix[np.diag_indices(size)] += ridge
    factor, failed = lapack.dpotrf(matrix, lower=1, overwrite_a=1)
    assert failed == 0, "XᵀX + λI is positive definite"
    inverse, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    assert failed == 0, "a triangular factor with a positive diagonal has an inverse"
    weights: Floats = np.tril(inverse) + np.tril(inverse, -1).T
    weights /= -np.diag(weights)
    np.fill_diagonal(weights, 0)
    return np.asarray(weights, dtype=np.float32)


def strongest_weights(
    lasting: npt.NDArray[np.float32], recent: npt.NDArray[np.float32], items: Ints, neighbours: int
) -> pa.Table:
    """The positive weights that are among an item's M largest on one of the time scales.

    Args:
        lasting: B [H, H] of the scale.
        recent: B [H, H] of the scale.
        items: [H] ascending catalog indices of the model's items.
        neighbours: M.

    Returns:
        TRANSITIONS by (item, next).
    """
    kept = np.zeros(lasting.shape, dtype=bool)
    for weights in (lasting, recent):
        num = min(neighbours, len(weights))
        if num:
            largest = np.argpartition(-weights, num - 1, axis=1)[:, :num]
            kept[np.arange(len(weights))[:, None], largest] = True
    kept &= (lasting > 0) | (recent > 0)
    first, second = np.nonzero(kept)
    columns = [items[first], items[second], *(np.maximum(weights[kept], 0) for weights in (lasting, recent))]
    return pa.Table.from_arrays(
        [pa.array(column).cast(field.type) for column, field in zip(columns, TRANSITIONS, strict=True)],
        schema=TRANSITIONS,
    )
