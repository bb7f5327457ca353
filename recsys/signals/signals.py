"""What speaks for a candidate: one number for each signal.

It knows vectors and catalog indices; the weights of the signals are in `fusion`. Shapes: B users, C
candidates, I items, D and T dimensions, G moments, H horizons, S signals.
"""

import numpy as np
import numpy.typing as npt
import torch

from recsys.compiled import compiled
from recsys.signals.candidates import FOLLOWING, Candidates
from recsys.signals.item_features import Beside
from recsys.signals.popularity import HORIZONS
from recsys.signals.retrieve import inner_products, unit_rows
from recsys.signals.sparse_rows import Rows
from recsys.signals.user_profiles import Profiles

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: The signals in the order of their columns, each with the source that a list names for it.
SOURCES = {
    "retrieval": "ranker",
    "isolated": "ranker",
    **{name: "linear" if name.startswith("linear") else "transitions" for name in FOLLOWING},
    "text": "text",
    **dict.fromkeys(HORIZONS, "popularity"),
    "repeat": "repeat",
    "seen": "repeat",
    "returns": "repeat",
}
SIGNALS = tuple(SOURCES)
_PLACES = {name: place for place, name in enumerate(SIGNALS)}

#: Added before logarithms are taken, so that what was never seen is unlikely and not impossible. A transition is a
#: cosine times a share of the history, the linear model's a weight times such a share, a repeat a number of moments.
_UNSEEN = np.array([1e-4 if name.startswith("linear") else 3e-5 for name in FOLLOWING], dtype=np.float32)
_UNSEEN_REPEAT = np.float32(0.02)


def measure_signals(
    candidates: Candidates,
    retrieval: Floats,
    isolated: Floats | None,
    profiles: Profiles,
    beside: Beside,
    moment: Ints,
) -> Floats:
    """[B, C, S] signals of each candidate; what is no candidate has any number.

    The transitions and the linear model are log(ε + Σ share of the history · weight), `text` is the cosine of the
    text vector with the whole profile's mean and what was searched for, each popularity a log-count, `repeat` log(ε +
    decayed moments), `seen` 0 or 1, `returns` how much likelier than usual what was seen is taken again. Where the
    ranker has nothing to read, which it never learned from, it says nothing.

    Args:
        candidates: Of B users.
        retrieval: [B, C] the retriever's logits: log P(item | user), but for what is the same for all items of a user.
        isolated: [B, C] what the isolated pass adds to the retrieval logit; None: it is not used.
        profiles: Of B users.
        beside: Of I items.
        moment: [B] row of `beside.popularity`.
    """
    items = np.maximum(candidates.items, 0)
    signals = np.zeros((*items.shape, len(SIGNALS)), dtype=np.float32)
    read = profiles.read
    signals[read, :, _PLACES["retrieval"]] = retrieval[read]
    if isolated is not None:
        signals[read, :, _PLACES["isolated"]] = isolated[read]
    first = _PLACES[FOLLOWING[0]]
    signals[:, :, first : first + len(FOLLOWING)] = np.log(candidates.following + _UNSEEN)
    signals[:, :, _PLACES["text"]] = _text_similarity(profiles, beside.text_vectors, items)
    for place, name in enumerate(HORIZONS):
        signals[:, :, _PLACES[name]] = beside.popularity[moment[:, None], place, items]
    signals[:, :, _PLACES["repeat"]] = np.log(_UNSEEN_REPEAT + candidates.had)
    seen = candidates.had > 0
    signals[:, :, _PLACES["seen"]] = seen
    signals[:, :, _PLACES["returns"]] = np.where(seen, beside.returns[items], 0)
    return signals


def _text_similarity(profiles: Profiles, text_vectors: Floats, items: Ints) -> Floats:
    means = text_of_history(profiles, text_vectors)
    searched = profiles.searched
    if searched.any():
        means[searched] = unit_rows(means[searched] + profiles.searches[searched])
    similarity = inner_products(*(torch.from_numpy(array) for array in (means, text_vectors, items)))
    return np.asarray(similarity.numpy())


def text_of_history(profiles: Profiles, text_vectors: Floats) -> Floats:
    """[B, T] mean direction of the texts of each whole profile, without what was searched for; 0 for an empty one."""
    means = np.zeros((len(profiles.read), text_vectors.shape[1]), dtype=np.float32)
    _add_up(profiles.whole.arrays, text_vectors, means)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return means


@compiled
def _add_up(shares: Rows, vectors: Floats, sums: Floats) -> None:
    """Add to [B, T] the product of sparse rows [B, I] and vectors [I, T]."""
    starts, items, values = shares
    for row in range(len(sums)):
        for place in range(starts[row], starts[row + 1]):
            vector = vectors[items[place]]
            for part in range(len(vector)):
                sums[row, part] += values[place] * vector[part]
