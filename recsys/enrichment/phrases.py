"""Keywords of a text without a language model: phrases that say most of it, and that differ from each other.

Candidates are runs of one to three words. They are chosen by maximal marginal relevance over the vectors of a text
encoder, after KeyBERT (Grootendorst 2020) and Carbonell & Goldstein (1998).

Shapes: P phrases, T text dimensions.
"""

import re

import numpy as np
import numpy.typing as npt

from recsys.enrichment.language import SMALL_WORDS

Floats = npt.NDArray[np.float32]

_LONGEST = 3
#: Candidates of one text at most: the earliest, since a text names its subject first.
MOST_CANDIDATES = 60
_MARK = re.compile(r"[.,;:!?()\[\]{}|/\\\"“”«»<>\n]+|\s[&+*–—-]+\s")
_WORD = re.compile(r"\w[\w'’&+-]*")
#: Small words that several languages share, which therefore tell no language.
_SHARED = "a an as at by de da do e en for i if il in la le lo me my no o on or our per so to un up us was we y à"
_SMALL = frozenset(_SHARED.split()).union(*SMALL_WORDS.values())
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")


def candidates_of(text: str) -> list[str]:
    """Different phrases of one to three words that begin and end with a word that says something.

    >>> candidates_of("Lamp for the desk, oak")
    ['lamp', 'desk', 'oak']
    """
    found: dict[str, None] = {}
    for piece in _MARK.split(text.lower()):
        words = _WORD.findall(piece)
        for start in range(len(words)):
            for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
                phrase = words[start:end]
                if all(_says(word) for word in phrase):
                    found[" ".join(phrase)] = None
    return list(found)[:MOST_CANDIDATES]


def _says(word: str) -> bool:
    return len(word) > 1 and word not in _SMALL and not word.isdecimal()


def sentences_of(text: str) -> list[str]:
    """The sentences of a text, by their end marks."""
    return [sentence.strip() for sentence in _SENTENCE.split(text) if sentence.strip()]


def most_relevant(vectors: Floats, target: Floats, num: int, diversity: float) -> list[int]:
    """Places of `num` of the vectors, best first: near the target, and far from those that are chosen already.

    argmax over the rest of (1 − d) · cos(v, target) − d · max over the chosen c of cos(v, c).

    Args:
        vectors: [P, T] of length 1.
        target: [T] of length 1.
        num: How many, or all if there are fewer.
        diversity: d, from 0 to 1.
    """
    if not len(vectors):
        return []
    relevance = vectors @ target  # [P]
    nearest = np.full(len(vectors), -1.0, dtype=np.float32)  # [P] cosine with the most similar chosen one
    chosen: list[int] = []
    free = np.ones(len(vectors), dtype=bool)
    for _ in range(min(num, len(vectors))):
        gain = (1 - diversity) * relevance - (diversity * nearest if chosen else 0)
        best = int(np.where(free, gain, -np.inf).argmax())
        chosen.append(best)
        free[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return chosen


def unit(vector: Floats) -> Floats:
    """The vector with length 1; 0 stays 0."""
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
