"""Text-EASE: a linear model that explains an item by the texts of the other items, in closed form.

It is EASE (`recsys.signals.ease`) on the texts in place of the users: each text dimension is a row, each item a column.
With centred text vectors f of length 1 the weight from item i to item j is fᵢᵀ M fⱼ / (1 − fⱼᵀ M fⱼ), where
M = (FᵀF + λI)⁻¹ [T, T], by Woodbury's identity. No item-to-item matrix is made, and an item without events has the same
numbers as any other. M whitens: what many texts share counts little. That is why it says more than the cosine, which is
large between any two texts of a shop.

Shapes: B users, C candidates, I items, T text dimensions.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular

from recsys.compiled import compiled
from recsys.signals.products import inner_products, row_products
from recsys.signals.sparse_rows import Rows, SparseRows

#: λ, in items. Any value from 3 to 100 did about as well on four data sets of 1,600 to 20,000 items.
L2 = 10.0
#: A text vector that lies nearer to the mean of all is the same text as the others, but for rounding.
_SAME = 1e-4
#: Items whose vectors are held in float64 at a time.
_AT_A_TIME = 8192

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEase:
    """The model of one catalog. It keeps one row of T numbers an item, from which the cosines are computed too.

    With M = L⁻ᵀ L⁻¹ the weight from i to j is zᵢ · zⱼ / (1 − |zⱼ|²) for z = L⁻¹ f. Weights are divided by the mean of
    |z|² / (1 − |z|²), so that an average item weighs 1 to another item with the same text, whatever the catalog's size.
    """

    rows: Floats
    """[I, T] gain · z; 0 for an item without text, or with the text that all have."""
    gain: Floats
    """[I] 1 / (1 − |z|²), divided by the mean of |z|² / (1 − |z|²)."""
    own: Floats
    """[I] weight of each item to itself, which is taken off: |z|² · gain."""
    mean: Floats
    """[T] mean of the text vectors."""
    spread: Floats
    """[I] distance of each text vector from the mean."""
    has_text: npt.NDArray[np.bool_]
    """[I]."""
    factor: Floats
    """[T, T] L, lower triangular."""
    inverse: Floats
    """[T, T] L⁻ᵀ, so that z = f · L⁻ᵀ."""

    @classmethod
    def of(cls, vectors: Floats, l2: float = L2) -> "TextEase":
        """Compute the model in float64, in time I · T².

        Args:
            vectors: [I, T] text vectors of length 1, or 0 for an item without text.
            l2: λ > 0. The leverage |z|² is at most 1 / (1 + λ).
        """
        num_items, num_dims = vectors.shape
        has_text = np.asarray(vectors.any(axis=1))
        parts = [slice(start, start + _AT_A_TIME) for start in range(0, num_items, _AT_A_TIME)]
        total = sum((vectors[part].sum(axis=0, dtype=np.float64) for part in parts), np.zeros(num_dims))
        mean: Doubles = total / max(int(has_text.sum()), 1)
        gram, spread = l2 * np.eye(num_dims), np.zeros(num_items)
        for part in parts:
            centred, spread[part] = _centred(vectors[part], has_text[part], mean)
            gram += centred.T @ centred
        factor = cholesky(gram, lower=True)
        rows, leverage = np.empty((num_items, num_dims), dtype=np.float32), np.empty(num_items)
        for part in parts:
            centred, _ = _centred(vectors[part], has_text[part], mean)
            whitened = solve_triangular(factor, centred.T, lower=True).T
            rows[part], leverage[part] = whitened, np.square(whitened).sum(axis=1)
        own = leverage / (1 - leverage)
        usual = own.sum() / max(np.count_nonzero(own), 1) or 1.0
        gain = 1 / (1 - leverage) / usual
        rows *= gain[:, None].astype(np.float32)
        return cls(
            rows=rows,
            gain=gain.astype(np.float32),
            own=(own / usual).astype(np.float32),
            mean=mean.astype(np.float32),
            spread=spread.astype(np.float32),
            has_text=has_text,
            factor=np.ascontiguousarray(factor, dtype=np.float32),  # else each product would copy it
            inverse=solve_triangular(factor, np.eye(num_dims), lower=True).T.astype(np.float32),
        )

    def sum_up(self, history: SparseRows) -> Floats:
        """[B, T] Σ share · z over the items of each user."""
        return replace(history, values=history.values / self.gain[history.items]).times(self.rows)

    def item_weights(self, items: Ints) -> tuple[Doubles, Doubles]:
        """U and V [H, T]: the weights between some items [H] are UVᵀ but for its diagonal. They are not divided."""
        leverage = self.own[items] / self.gain[items]
        z = self.rows[items].astype(np.float64) / self.gain[items, None]
        return z, z / (1 - leverage)[:, None]

    def whitened(self, searches: Floats) -> Floats:
        """[B, T] z of texts that are no item's, times the length of their vectors [B, T]."""
        lengths = np.linalg.norm(searches, axis=1, keepdims=True)
        directions = searches / np.maximum(lengths, _SAME)
        centred, _ = _centred(directions, lengths[:, 0] > 0, self.mean.astype(np.float64))
        return np.asarray(row_products(centred.astype(np.float32), self.inverse) * lengths)

    def weights(self, history: SparseRows, sums: Floats, items: Ints) -> Floats:
        """[B, C] weight from each user's history to some items; an item says nothing of itself.

        Args:
            history: Shares of B users.
            sums: [B, T] `sum_up` of them, to which `whitened` searches may be added.
            items: [B, C] catalog indices.
        """
        found = inner_products(sums, self.rows, items)
        _take_off(history.arrays, self.own, items, found)
        return found

    def cosines(self, queries: Floats, items: Ints) -> Floats:
        """[B, C] products of vectors of the encoder [B, T] with the text vectors of some items [B, C]."""
        return self._cosines(queries, inner_products(self.unwhitened(queries), self.rows, items), items)

    def unwhitened(self, queries: Floats) -> Floats:
        """[B, T] vectors whose products with `rows` [I, T] are what `all_cosines` takes; ``queries`` [B, T]."""
        return row_products(queries, self.factor)

    def all_cosines(self, queries: Floats, products: Floats) -> Floats:
        """[B, I] `cosines` with all items, from the products [B, I] of `unwhitened` queries with `rows`."""
        return self._cosines(queries, products, slice(None))

    def _cosines(self, queries: Floats, products: npt.NDArray[np.floating], items: Ints | slice) -> Floats:
        """A text vector is the mean text plus its spread times f, and f = L z."""
        cosines = row_products(queries, self.mean[:, None]) + (self.spread / self.gain)[items] * products
        return np.where(self.has_text[items], cosines, np.float32(0)).astype(np.float32)


def _centred(vectors: Floats, has_text: npt.NDArray[np.bool_], mean: Doubles) -> tuple[Doubles, Doubles]:
    """[I, T] directions from the mean, 0 for an item without text or with the mean text; and the distances [I]."""
    centred = np.where(has_text[:, None], vectors - mean, 0.0)
    spread: Doubles = np.linalg.norm(centred, axis=1)
    spread[spread < _SAME] = 0.0
    return np.where(spread[:, None] > 0, centred / np.where(spread > 0, spread, 1.0)[:, None], 0.0), spread


@compiled
def _take_off(shares: Rows, own: Floats, items: Ints, found: Floats) -> None:
    """Take off what each item [B, C] says of itself as an item of the history."""
    starts, taken, values = shares
    for user in range(len(items)):
        first, last = starts[user], starts[user + 1]
        history = taken[first:last]
        for place in range(items.shape[1]):
            item = items[user, place]
            at = np.searchsorted(history, item)
            if at < len(history) and history[at] == item:
                found[user, place] -= values[first + at] * own[item]
