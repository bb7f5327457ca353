"""What speaks for a candidate: one number for each signal, and which items become candidates at all.

It knows vectors, sparse matrices and catalog indices; the weights of the signals are in `fusion`. Shapes: B users, C
candidates, I items, D and T dimensions, G moments, H horizons, S signals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from recsys.recommend.neighbours import Neighbours
from recsys.recommend.order import NO_ITEM
from recsys.recommend.popularity import HORIZONS
from recsys.recommend.profiles import Profiles
from recsys.recommend.retrieve import inner_products, largest, unit_rows

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: The signals in the order of their columns, each with the source that a list names for it.
SOURCES = {
    "retrieval": "ranker",
    "isolated": "ranker",
    "newest_lasting": "transitions",
    "newest_recent": "transitions",
    "whole_lasting": "transitions",
    "whole_recent": "transitions",
    "linear_lasting": "linear",
    "linear_recent": "linear",
    "text": "text",
    **dict.fromkeys(HORIZONS, "popularity"),
    "repeat": "repeat",
    "seen": "repeat",
}
SIGNALS = tuple(SOURCES)

#: Added before logarithms are taken, so that what was never seen is unlikely and not impossible. A transition is a
#: cosine times a share of the history, the linear model's a weight times such a share, a repeat a number of moments.
_UNSEEN = {
    "newest_lasting": 3e-5,
    "newest_recent": 3e-5,
    "whole_lasting": 3e-5,
    "whole_recent": 3e-5,
    "linear_lasting": 1e-4,
    "linear_recent": 1e-4,
}
_UNSEEN_REPEAT = 0.02


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What is known of the items beside the ranker."""

    transitions: Neighbours
    linear: Neighbours
    text_vectors: Floats
    """[I, T] of length 1 (or 0)."""
    popularity: Floats
    """[G, H, I] log-counts at G moments, see `popularity.log_popularity`."""
    recommendable: npt.NDArray[np.bool_]
    """[I]."""
    borrows: npt.NDArray[np.bool_]
    """[I] new items, whose weights and popularity are those of items of alike text, see `cold`."""


@dataclass(frozen=True, kw_only=True)
class Follow:
    """Dense sums over the neighbours of a few users' profiles, [B, I] each.

    All transitions are multiplied with both profiles. Of the linear model what is always so is asked of the newest
    events, and what is so of late of the whole history.
    """

    newest_lasting: Floats
    newest_recent: Floats
    whole_lasting: Floats
    whole_recent: Floats
    linear_lasting: Floats
    linear_recent: Floats

    @classmethod
    def of(cls, profiles: Profiles, transitions: Neighbours, linear: Neighbours) -> "Follow":
        """Multiply the profiles with the time scales."""
        newest, whole = ((rows @ transitions.weights).toarray() for rows in (profiles.newest, profiles.whole))
        return cls(
            newest_lasting=newest.real,
            newest_recent=newest.imag,
            whole_lasting=whole.real,
            whole_recent=whole.imag,
            linear_lasting=(profiles.newest @ linear.lasting).toarray(),
            linear_recent=(profiles.whole @ linear.recent).toarray(),
        )


def union_of_candidates(
    retrieved: Ints,
    profiles: Profiles,
    follow: Follow,
    repeats: Floats | None,
    beside: Beside,
    moment: Ints,
    excluded: npt.NDArray[np.bool_],
    also: Ints | None = None,
) -> Ints:
    """Each user's candidates: the retriever's, what follows the history, is popular, was had, searched for, or is new.

    Args:
        retrieved: [B, C₀] catalog indices, −1 for none; what is popular adds up to C₀, transitions, what was had
            before and what is near to a search C₀ / 2, the linear model on each time scale and new items C₀ / 4.
        profiles: Of B users.
        follow: Of the same users.
        repeats: [B, I] as `Profiles.repeats`; None: what was had before is no candidate for that.
        beside: Of I items.
        moment: [B] row of `beside.popularity` that holds for the user.
        excluded: [B, I] items that must not be candidates.
        also: [B, X] further ones, −1 for none.

    Returns:
        [B, C] catalog indices, ascending, −1 for none; no item twice. C ≥ 1 is as many as some user has.
    """
    num = max(retrieved.shape[1] // 2, 1)
    popular = _best(np.where(beside.recommendable, beside.popularity[:, 0], np.float32(0)), 2 * num)[moment]
    few = max(num // 2, 1)
    found = [
        retrieved,
        _best(follow.newest_lasting + follow.whole_recent, num),
        _best(follow.linear_lasting, few),
        _best(follow.linear_recent, few),
        popular,
    ]
    if repeats is not None:
        found.append(_best(repeats, num))
    new = np.flatnonzero(beside.borrows & beside.recommendable)
    if len(new):
        best = _best(follow.whole_lasting[:, new] + follow.linear_recent[:, new], few)
        found.append(np.where(best >= 0, new[best], NO_ITEM))
    if profiles.searched.any():
        found.append(_near_searches(profiles, beside, num))
    if also is not None:
        found.append(also)
    candidates = np.sort(np.concatenate(found, axis=1), axis=1)
    again = np.zeros(candidates.shape, dtype=bool)
    again[:, 1:] = candidates[:, 1:] == candidates[:, :-1]
    rows = np.arange(len(candidates))[:, None]
    barred = again | (candidates < 0) | excluded[rows, candidates] | ~beside.recommendable[candidates]
    candidates[barred] = NO_ITEM
    width = int((candidates >= 0).sum(axis=1).max(initial=1))  # the holes go first, so that the last columns hold all
    return np.sort(candidates, axis=1)[:, candidates.shape[1] - width :]


def measure_signals(
    candidates: Ints,
    retrieval: Floats,
    isolated: Floats | None,
    profiles: Profiles,
    follow: Follow,
    repeats: Floats | None,
    beside: Beside,
    moment: Ints,
) -> Floats:
    """[B, C, S] signals of each candidate; what is no candidate has any number.

    The transitions and the linear model are log(ε + Σ share of the history · weight), `text` is the cosine of the
    text vector with the whole profile's mean and what was searched for, each popularity a log-count, `repeat` log(ε +
    decayed moments), `seen` 0 or 1. Where the ranker has nothing to read, which it never learned from, it says nothing.

    Args:
        candidates: [B, C] catalog indices, −1 for none.
        retrieval: [B, C] the retriever's logits: log P(item | user), but for what is the same for all items of a user.
        isolated: [B, C] what the isolated pass adds to the retrieval logit; None: it is not used.
        profiles: Of B users.
        follow: Of B users.
        repeats: [B, I]; None: what was had before is left out.
        beside: Of I items.
        moment: [B] row of `beside.popularity`.
    """
    items = np.maximum(candidates, 0)
    rows = np.arange(len(items))[:, None]
    read = profiles.read[:, None]
    nothing = np.zeros(items.shape, dtype=np.float32)
    had = nothing if repeats is None else repeats[rows, items]
    columns = [
        np.where(read, retrieval, nothing),
        nothing if isolated is None else np.where(read, isolated, nothing),
        *(np.log(unseen + getattr(follow, name)[rows, items]) for name, unseen in _UNSEEN.items()),
        _text_similarity(profiles, beside.text_vectors, items),
        *np.moveaxis(beside.popularity[moment[:, None], :, items], -1, 0),
        nothing if repeats is None else np.log(_UNSEEN_REPEAT + had),
        (had > 0).astype(np.float32),
    ]
    return np.stack(columns, axis=-1).astype(np.float32)


def _text_similarity(profiles: Profiles, text_vectors: Floats, items: Ints) -> Floats:
    means = text_of_history(profiles, text_vectors)
    searched = profiles.searched
    if searched.any():
        means[searched] = unit_rows(means[searched] + profiles.searches[searched])
    similarity = inner_products(*(torch.from_numpy(array) for array in (means, text_vectors, items)))
    return np.asarray(similarity.numpy())


def text_of_history(profiles: Profiles, text_vectors: Floats) -> Floats:
    """[B, T] mean direction of the texts of each whole profile, without what was searched for; 0 for an empty one."""
    means = np.asarray(profiles.whole @ text_vectors, dtype=np.float32)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return means


def _near_searches(profiles: Profiles, beside: Beside, num: int) -> Ints:
    """[B, num] items that may be recommended whose texts are nearest to what was searched for; −1 for none."""
    found = np.full((len(profiles.searches), num), NO_ITEM, dtype=np.int64)
    searched = np.flatnonzero(profiles.searched)
    similarity = profiles.searches[searched] @ beside.text_vectors.T
    nearest = _best(np.where(beside.recommendable, similarity, np.float32(0)), num)
    found[searched, : nearest.shape[1]] = nearest
    return found


def _best(scores: Floats, num: int) -> Ints:
    """[B, num] columns of the largest positive scores of each row, of equals the first; −1 where there are fewer."""
    tensor = torch.from_numpy(scores)
    tensor = tensor.masked_fill(tensor <= 0, -torch.inf)
    columns = largest(tensor, num)
    found = torch.where(tensor.gather(1, columns) > 0, columns, NO_ITEM)
    return np.asarray(found.numpy())
