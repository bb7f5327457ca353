"""How well text vectors tell what users took next: NDCG@10 of text-EASE, the signal `text`, on held-out baskets.

Shapes: B users, M items that are ranked, T text dimensions.
"""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.signals.text_ease import TextEase

#: Items that are ranked at most: in a larger catalog those of the users, and others by chance.
MOST_ITEMS = 20_000
#: Weight of a history's item relative to the next newer one.
STEP_WEIGHT = 0.7
_USERS_AT_A_TIME = 64
_CUT = 10

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class HeldOutTargets(NamedTuple):
    """Histories and next items of some users, over the items that are ranked."""

    rows: Ints
    """[M] of the catalog, sorted."""
    histories: list[Ints]
    """Places among `rows`, oldest → newest, for each user."""
    targets: Ints
    """[B] places among `rows`."""

    @classmethod
    def of(cls, table: pa.Table, catalog_size: int, seed: int) -> Self:
        """From HELD_OUT_TARGETS."""
        histories = [np.asarray(each.values, np.int64) for each in table["history"].combine_chunks()]
        targets = table["target"].to_numpy().astype(np.int64)
        own = np.unique(np.concatenate([targets, *histories]))
        others = np.random.default_rng(seed).permutation(catalog_size)[:MOST_ITEMS]
        rows = np.union1d(own, others[: max(MOST_ITEMS - len(own), 0)])
        return cls(rows, [np.searchsorted(rows, each) for each in histories], np.searchsorted(rows, targets))


def held_out_ndcg(vectors: Floats, held_out: HeldOutTargets) -> Doubles:
    """[B] NDCG@10 of each user's next item among all items that are not in the history.

    Args:
        vectors: [M, T] of length 1.
        held_out: Of the users.
    """
    model = TextEase.of(vectors)
    gains = [np.zeros(0)]
    for start in range(0, len(held_out.targets), _USERS_AT_A_TIME):
        histories = held_out.histories[start : start + _USERS_AT_A_TIME]
        targets = held_out.targets[start : start + _USERS_AT_A_TIME]
        scores = (
            np.stack([_weights(history) @ model.rows[history] for history in histories]) @ model.rows.T * model.gain
        )
        for user, history in enumerate(histories):
            scores[user, history] = -np.inf
        own = scores[np.arange(len(targets)), targets]
        ranks = (scores > own[:, None]).sum(axis=1)
        gains.append(np.where(ranks < _CUT, 1 / np.log2(ranks + 2), 0.0))
    return np.concatenate(gains)


def _weights(history: Ints) -> Floats:
    """Shares of a history's items, float32, the newest 1."""
    return (STEP_WEIGHT ** np.arange(len(history))[::-1]).astype(np.float32)
