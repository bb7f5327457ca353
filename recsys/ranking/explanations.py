"""Why an item is in a list: the signal that speaks most for it, in words; it knows signals and titles, no models.

A reason is true by construction: it names the source whose signals, times their weights, lift the item most above the
user's other candidates. Shapes: B users, C candidates, K list length, S signals, I items.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.compiled import compiled
from recsys.signals.item_features import Beside
from recsys.signals.neighbours import Neighbours
from recsys.signals.signals import SIGNALS, SOURCES, text_of_history
from recsys.signals.sparse_rows import Rows
from recsys.signals.user_profiles import Profiles

RANKER, TRANSITIONS, LINEAR = "ranker", "transitions", "linear"
TEXT, POPULARITY, REPEAT = "text", "popularity", "repeat"
EXPLORATION = "exploration"
#: Words of each source; `{}` stands for the title of an item of the user's history.
WORDS = {
    RANKER: "in line with your history",
    TRANSITIONS: "often chosen with {}",
    LINEAR: "chosen by people who chose {}",
    TEXT: "similar to {}",
    POPULARITY: "popular now",
    REPEAT: "you chose it before",
    EXPLORATION: "something new to try",
}
#: In the place of an item that a reason names: nothing; what the user searched for, told by the source `text`; or
#: whatever the user is or said, told by the ranker where no item of the history is known.
NOTHING, SEARCH, TOLD = -1, -2, -3
SEARCH_WORDS = "close to your query"
TOLD_WORDS = "in line with what you told us"
#: Sources in the order of their codes, their words, and what of these stands before a title.
NAMES = tuple(WORDS)
_NAMES, _WORDS = pa.array(NAMES), pa.array(list(WORDS.values()))
_HEADS = pa.array([words.removesuffix("{}") for words in WORDS.values()])
#: Sources in the order of their signals, where each one's signals start, and its place in `NAMES`.
_GROUPS = tuple(group for group, _ in itertools.groupby(SOURCES.values()))
assert len(set(_GROUPS)) == len(_GROUPS), "the signals of a source stand beside each other"
_STARTS = np.array([list(SOURCES.values()).index(group) for group in _GROUPS])
_CODES = np.array([NAMES.index(group) for group in _GROUPS], dtype=np.int8)
#: Places of the ranker's signals.
_OF_RANKER = [place for place, source in enumerate(SOURCES.values()) if source == RANKER]
#: [sources] in the order of `NAMES`: whose words name an item.
_NAMES_ITEM = np.array(["{}" in words for words in WORDS.values()])
#: Items of the history that are looked through for the one to name, the weightiest first.
_NAMED_FROM = 20
#: List places whose reasons are named together.
_PAIRS = 4096
#: The same by texts, which hold a vector for each item.
_TEXT_PAIRS = 512

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Sources and reasons of B lists."""

    sources: npt.NDArray[np.int8]
    """[B, K] places in `NAMES`."""
    because: Ints
    """[B, K] catalog index of the history item that a reason names, else `NOTHING`, `SEARCH` or `TOLD`."""


def contributions(signals: Floats, valid: npt.NDArray[np.bool_], columns: Ints, weights: Floats) -> Floats:
    """[B, K, S] wᵢ · (sᵢ − its mean over the user's candidates): what each signal lifts an item above the others.

    Args:
        signals: [B, C, S].
        valid: [B, C] which candidates there are.
        columns: [B, K] whose lifts are wanted.
        weights: [B, K, S] by which they were scored.
    """
    means = np.zeros((len(signals), signals.shape[2]))
    _mean(signals, valid, means)
    listed = np.take_along_axis(signals, columns[:, :, None], axis=1)
    return np.asarray((listed - means[:, None]) * weights, dtype=np.float32)


@compiled
def _mean(signals: Floats, valid: npt.NDArray[np.bool_], means: npt.NDArray[np.float64]) -> None:
    """Means over the valid of [B, C, S] in float64: a signal that is the same for all lifts nobody by its last bit."""
    for user in range(len(signals)):
        count, mean = 0, means[user]
        for candidate in range(signals.shape[1]):
            if valid[user, candidate]:
                count += 1
                for signal, value in enumerate(signals[user, candidate]):
                    mean[signal] += value
        mean /= max(count, 1)


def explain(lifts: Floats, items: Ints, weights: Floats, profiles: Profiles, beside: Beside) -> Explained:
    """The source that lifts each listed item most, and the item of the history behind it.

    What no source lifts, or a source that finds no item to name, counts for the ranker, or for popularity where the
    ranker says nothing: without a weight, or of a user of whom nothing is known. A new item is nowhere for what others
    did, but for its text, through which it has their weights; where that names nothing, it is something new to try.

    Args:
        lifts: [B, K, S] of `contributions`, of the listed items.
        items: [B, K] catalog indices, −1 for none.
        weights: [B, S].
        profiles: Of B users.
        beside: Of I items.
    """
    borrowed = beside.are_new(items)
    by_source = np.add.reduceat(lifts, _STARTS, axis=2)
    if borrowed.any():
        by_source = _as_text(by_source, borrowed)
    ranker_speaks = profiles.read & (weights[:, _OF_RANKER] > 0).any(axis=1)
    unknown = np.where(borrowed, NAMES.index(EXPLORATION), NAMES.index(POPULARITY))
    otherwise = np.where(ranker_speaks[:, None], NAMES.index(RANKER), unknown).astype(np.int8)
    best = _CODES[by_source.argmax(axis=2)]
    sources = np.where(by_source.max(axis=2) > 0, best, otherwise)
    because = np.full(items.shape, -1, dtype=np.int64)
    named = {TRANSITIONS: (_by_transition, _PAIRS), LINEAR: (_by_linear, _PAIRS), TEXT: (_by_text, _TEXT_PAIRS)}
    for name, (name_them, size) in named.items():
        users, places = np.nonzero((sources == NAMES.index(name)) & (items >= 0))
        for start in range(0, len(users), size):
            few = slice(start, start + size)
            because[users[few], places[few]] = name_them(
                users[few], items[users[few], places[few]], weights[users[few]], profiles, beside
            )
    nameless = (because == NOTHING) & _NAMES_ITEM[sources]
    sources = np.where(nameless, otherwise, sources)
    because[profiles.told_only[:, None] & (sources == NAMES.index(RANKER)) & (items >= 0)] = TOLD
    return Explained(sources=sources, because=because)


def _as_text(by_source: Floats, borrowed: npt.NDArray[np.bool_]) -> Floats:
    """[B, K, sources] in which what new items borrowed, all but repeats and the ranker's, stands with their text."""
    lent = [_GROUPS.index(name) for name in (TRANSITIONS, LINEAR, POPULARITY)]
    found = by_source.copy()
    found[..., _GROUPS.index(TEXT)] += np.where(borrowed, by_source[..., lent].sum(axis=2), 0)
    for group in lent:
        found[..., group] = np.where(borrowed, -np.inf, by_source[..., group])
    return found


def reasons(explained: Explained, titles: pa.Array, users: Ints, places: Ints) -> tuple[pa.Array, pa.Array]:
    """Source and reason, as text, of the list places (user, place) [N].

    Args:
        explained: Of B lists.
        titles: [I] what people call the items.
        users: [N].
        places: [N].
    """
    sources = pa.array(explained.sources[users, places].astype(np.int32))
    named = explained.because[users, places]
    title = titles.take(pa.array(np.maximum(named, 0)))
    with_title = pc.binary_join_element_wise(_HEADS.take(sources), title, "")
    reason = pc.if_else(pa.array(named >= 0), with_title, _WORDS.take(sources))
    for code, instead in ((SEARCH, SEARCH_WORDS), (TOLD, TOLD_WORDS)):
        if (there := named == code).any():
            reason = pc.if_else(pa.array(there), instead, reason)
    return _NAMES.take(sources), reason


def _by_transition(users: Ints, items: Ints, weights: Floats, profiles: Profiles, beside: Beside) -> Ints:
    """[N] item of each user's history from which most comes to the item; −1 where nothing does."""
    weight = _by_name(weights)
    history, newest, whole = _history_of(users, profiles)
    lasting, recent = _weights_to(items, history, beside.transitions)
    share = newest * (weight["newest_lasting"] * lasting + weight["newest_recent"] * recent)
    share += whole * (weight["whole_lasting"] * lasting + weight["whole_recent"] * recent)
    return _best_of(history, share)


def _by_linear(users: Ints, items: Ints, weights: Floats, profiles: Profiles, beside: Beside) -> Ints:
    """[N] item of each user's history that the linear model takes most from; −1 where it takes nothing.

    Each time scale is a sum in a logarithm of its own, so that an item's part of it counts as a share of the sum.
    """
    weight = _by_name(weights)
    history, newest, whole = _history_of(users, profiles)
    lasting, recent = _weights_to(items, history, beside.linear)
    share = weight["linear_lasting"] * _shares(newest * lasting) + weight["linear_recent"] * _shares(whole * recent)
    return _best_of(history, share)


def _by_name(weights: Floats) -> dict[str, Floats]:
    """[N, 1] column of each signal out of [N, S]."""
    return {name: weights[:, place, None] for place, name in enumerate(SIGNALS)}


def _weights_to(items: Ints, history: Ints, neighbours: Neighbours) -> tuple[Floats, Floats]:
    """[N, L] weights from each item of a history to an item, on both time scales."""
    weights = np.zeros(history.shape, dtype=np.complex64)
    _look_up(items, history, neighbours.rows, weights)
    return weights.real, weights.imag


@compiled
def _look_up(items: Ints, history: Ints, neighbours: Rows, weights: npt.NDArray[np.complex64]) -> None:
    starts, others, values = neighbours
    for row in range(len(items)):
        for slot in range(history.shape[1]):
            item = history[row, slot]
            if item >= 0:
                first, last = starts[item], starts[item + 1]
                place = first + np.searchsorted(others[first:last], items[row])
                if place < last and others[place] == items[row]:
                    weights[row, slot] = values[place]


def _shares(parts: Floats) -> Floats:
    return np.asarray(parts / np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny))


def _by_text(users: Ints, items: Ints, weights: Floats, profiles: Profiles, beside: Beside) -> Ints:  # noqa: ARG001
    """[N] item of each user's history whose text is nearest, where any is near at all; or the search, if it adds more.

    The signal is the cosine with a sum, so that the parts of the history and of the searches can be told apart.
    """
    history, _, whole = _history_of(users, profiles)
    vectors = beside.text_vectors
    similarity = np.einsum("nlt,nt->nl", vectors[np.maximum(history, 0)], vectors[items])
    another = (whole > 0) & (history != items[:, None])  # that it is similar to itself is no news
    because = _best_of(history, np.where(another, similarity, 0.0))
    searched = profiles.searched[users]
    if not searched.any():
        return because
    by_search = np.einsum("nt,nt->n", profiles.searches[users[searched]], vectors[items[searched]])
    own = text_of_history(profiles.rows(users[searched]), vectors)
    by_history = np.einsum("nt,nt->n", own, vectors[items[searched]])
    because[searched] = np.where((by_search > 0) & (by_search >= by_history), SEARCH, because[searched])
    return because


def _history_of(users: Ints, profiles: Profiles) -> tuple[Ints, Floats, Floats]:
    """Weightiest items [N, L] of each user's history, −1 for none, and their weights in both profiles."""
    distinct, place = np.unique(users, return_inverse=True)
    shape = (len(distinct), _NAMED_FROM)
    history = np.full(shape, -1, dtype=np.int64)
    newest, whole = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    _weightiest(distinct, profiles.newest.arrays, profiles.whole.values, history, newest, whole)
    return history[place], newest[place], whole[place]


@compiled
def _weightiest(users: Ints, profile: Rows, whole: Floats, items: Ints, of_newest: Floats, of_whole: Floats) -> None:
    starts, history, newest = profile
    for row, user in enumerate(users):
        first, last = starts[user], starts[user + 1]
        order = np.argsort(-newest[first:last], kind="mergesort")  # stable: equals by item
        for slot, place in enumerate(order[: items.shape[1]]):
            items[row, slot] = history[first + place]
            of_newest[row, slot] = newest[first + place]
            of_whole[row, slot] = whole[first + place]


def _best_of(history: Ints, share: npt.NDArray[np.floating]) -> Ints:
    best = share.argmax(axis=1)
    rows = np.arange(len(history))
    return np.where(share[rows, best] > 0, history[rows, best], -1)
