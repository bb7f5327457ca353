"""Why an item is in a list: the signal that lifts it most, in that signal's words.

A reason is true by construction: it names the signal whose numbers, times their weights, lift the item most above the
user's other candidates. Shapes: B users, C candidates, G signals, K list length, N places, S numbers of all signals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.compiled import compiled
from recsys.ranking.rerank import Reranked
from recsys.ranking.scoring import Scored
from recsys.ranking.snapshot import Snapshot
from recsys.signals.registry import SIGNALS
from recsys.signals.signal import NONE

#: Source and sentence of drawn items, and of cold items that no signal explains.
EXPLORATION, EXPLORATION_SENTENCE = "exploration", "something new to try"
#: Source and sentence of items that stand higher than by their scores because of a pin.
PINNED, PINNED_SENTENCE = "pinned", "chosen by the shop"
#: Signals that explain an item where the best signal cannot.
_RANKER, _POPULARITY = "ranker", "popularity"
#: The signal that explains cold items: their imputed numbers come from items with similar text.
_TEXT = "text"
#: List places that a signal explains together.
_AT_A_TIME = 4096

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Sources and reasons of B lists."""

    names: tuple[str, ...]
    """The sources: the signals of the snapshot, then `EXPLORATION` and `PINNED`."""
    source: Ints
    """[B, K] places in ``names``."""
    sentence: Ints
    """[B, K] place among the sentences of the source."""
    item: Ints
    """[B, K] catalog index of the history item that the sentence names, or −1."""

    def at(self, users: Ints, places: Ints, titles: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Source and reason, as text, of the list places (user, place) [N].

        Args:
            users: [N].
            places: [N].
            titles: [I] what people call the items.
        """
        sentences = [_sentences_of(name) for name in self.names]
        starts = np.concatenate([[0], np.cumsum([len(each) for each in sentences])])
        everything = [sentence for each in sentences for sentence in each]
        source, named = self.source[users, places], self.item[users, places]
        chosen = pa.array(starts[source] + self.sentence[users, places])
        heads = pa.array([sentence.removesuffix("{}") for sentence in everything], pa.string()).take(chosen)
        title = titles.take(pa.array(np.maximum(named, 0)))
        reason = pc.if_else(pa.array(named >= 0), pc.binary_join_element_wise(heads, title, ""), heads)
        return pa.array(self.names, pa.string()).take(pa.array(source)), reason


def _sentences_of(name: str) -> tuple[str, ...]:
    own = {EXPLORATION: (EXPLORATION_SENTENCE,), PINNED: (PINNED_SENTENCE,)}
    return own[name] if name in own else SIGNALS[name].sentences


def contributions(numbers: Floats, valid: Bools, columns: Ints, weights: Floats) -> Floats:
    """[B, K, S] wᵢ · (sᵢ − its mean over the user's candidates): how far each number lifts an item above the others.

    Args:
        numbers: [B, C, S].
        valid: [B, C] whether there is a candidate.
        columns: [B, K] columns of the listed items among the candidates.
        weights: [B, S] of the users.
    """
    means = np.zeros((len(numbers), numbers.shape[2]))
    _mean(numbers, valid, means)
    listed = np.take_along_axis(numbers, columns[:, :, None], axis=1)
    return np.asarray((listed - means[:, None]) * weights[:, None], dtype=np.float32)


@compiled
def _mean(numbers: Floats, valid: Bools, means: npt.NDArray[np.float64]) -> None:
    """Means over the valid candidates in float64: a number that is the same for all lifts none by its last bit."""
    for user in range(len(numbers)):
        count, mean = 0, means[user]
        for candidate in range(numbers.shape[1]):
            if valid[user, candidate]:
                count += 1
                for signal, value in enumerate(numbers[user, candidate]):
                    mean[signal] += value
        mean /= max(count, 1)


def explain(snapshot: Snapshot, scored: Scored, weights: Floats, reranked: Reranked, lifts: Floats) -> Explained:
    """The signal that lifts each listed item most, and what it says.

    Where no signal lifts the item, or the signal cannot explain it, the ranker does, or popularity where the ranker has
    nothing to say: no weight, or an unknown user. The imputed numbers of a cold item count for the text
    signal, since they come from items with similar text; where that explains nothing, the item is something new to try.

    Args:
        snapshot: The night.
        scored: Of B users.
        weights: [B, S] of the users.
        reranked: The lists.
        lifts: [B, K, S] of `contributions`.
    """
    items = reranked.items
    names = (*snapshot.signals, EXPLORATION, PINNED)
    cold = snapshot.are_cold(items)
    by_signal = np.add.reduceat(lifts, [part.start for part in snapshot.slices.values()], axis=2)
    if cold.any():
        by_signal = _imputed_as_text(names, by_signal, cold)
    otherwise = _otherwise(snapshot, scored, weights, names, cold)
    source = np.where(by_signal.max(axis=2) > 0, by_signal.argmax(axis=2), otherwise)
    sentence, item = np.full(items.shape, NONE), np.full(items.shape, NONE)
    listed = (items >= 0) & ~reranked.explored & ~reranked.pinned
    _ask_signals(snapshot, scored, weights, items, source, listed, (sentence, item))
    mute = listed & (sentence == NONE)
    source = np.where(mute, otherwise, source)
    _ask_signals(snapshot, scored, weights, items, source, mute, (sentence, item))
    is_new_to_try = reranked.explored | (source == names.index(EXPLORATION))
    for name, rows in ((EXPLORATION, is_new_to_try), (PINNED, reranked.pinned)):
        source[rows], sentence[rows], item[rows] = names.index(name), NONE, NONE
    return Explained(names=names, source=source, sentence=np.maximum(sentence, 0), item=item)


def _otherwise(snapshot: Snapshot, scored: Scored, weights: Floats, names: tuple[str, ...], cold: Bools) -> Ints:
    """[B, K] the source of items that no signal explains."""
    known = names.index(_POPULARITY) if _POPULARITY in names else 0
    unexplained = np.where(cold, names.index(EXPLORATION), known)
    if _RANKER not in snapshot.signals:
        return unexplained
    ranker_speaks = scored.profiles.has_tokens & (weights[:, snapshot.slices[_RANKER]] > 0).any(axis=1)
    return np.where(ranker_speaks[:, None], names.index(_RANKER), unexplained)


def _imputed_as_text(names: tuple[str, ...], by_signal: Floats, cold: Bools) -> Floats:
    """[B, K, G] where the imputed numbers of cold items stand with the text signal."""
    imputed = [place for place, name in enumerate(names) if name in SIGNALS and SIGNALS[name].imputed]
    found = by_signal.copy()
    if _TEXT in names:
        found[..., names.index(_TEXT)] += np.where(cold, by_signal[..., imputed].sum(axis=2), 0)
    for place in imputed:
        found[..., place] = np.where(cold, -np.inf, by_signal[..., place])
    return found


def _ask_signals(
    snapshot: Snapshot,
    scored: Scored,
    weights: Floats,
    items: Ints,
    source: Ints,
    asked: Bools,
    answers: tuple[Ints, Ints],
) -> None:
    """Write what each signal says where it is the source: the sentence, and the history item that it names."""
    sentence, item = answers
    for place, name in enumerate(snapshot.signals):
        users, places = np.nonzero(asked & (source == place))
        for start in range(0, len(users), _AT_A_TIME):
            at = users[start : start + _AT_A_TIME], places[start : start + _AT_A_TIME]
            said = scored.evidence[name].explain(at[0], items[at], weights[at[0]][:, snapshot.slices[name]])
            sentence[at], item[at] = said.sentence, said.item
