"""Which items have a word in their texts. Shapes: I items, N words of all texts."""

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bools = npt.NDArray[np.bool_]

#: English plurals as their singular, one rule after the other; both sides of a comparison go through the same rules.
_PLURALS = ((r"^(.{2,})ies$", r"\1y"), (r"^(.{2,}(?:x|ch|sh|ss))es$", r"\1"), (r"^(.{2,}[^su])s$", r"\1"))
_BETWEEN_WORDS = r"[^\pL\pN]+"


class WordIndex:
    """Items by the words of their texts; plurals and upper case do not count."""

    def __init__(self, texts: Iterable[pa.ChunkedArray], num_items: int):
        """Read the texts.

        Args:
            texts: Columns [I] of texts, null for none.
            num_items: I.
        """
        self._num_items = num_items
        words, items = [pa.array([], pa.string())], [np.empty(0, np.int64)]
        for column in texts:
            split = pc.split_pattern_regex(pc.utf8_lower(column), _BETWEEN_WORDS).combine_chunks()
            words.append(_singular(split.flatten()))
            items.append(np.asarray(pc.list_parent_indices(split)))
        encoded = pa.chunked_array(words).combine_chunks().dictionary_encode()
        codes = np.asarray(encoded.indices).astype(np.int64)
        pairs = np.unique(codes * max(num_items, 1) + np.concatenate(items))
        self._words = encoded.dictionary
        self._items = (pairs % max(num_items, 1)).astype(np.int32)
        self._bounds = np.searchsorted(pairs // max(num_items, 1), np.arange(len(self._words) + 1))

    def having(self, phrase: str) -> Bools:
        """[I] whether an item has every word of a phrase; no item where the phrase has no word."""
        words = [word for word in re.split(r"[\W_]+", phrase.lower()) if word]
        counts = np.zeros(self._num_items, dtype=np.int64)
        rows = pc.index_in(_singular(pa.array(sorted(set(words)), pa.string())), value_set=self._words)
        for row in rows.drop_null().to_pylist():
            counts[self._items[self._bounds[row] : self._bounds[row + 1]]] += 1
        return np.asarray((counts == len(rows)) & bool(words))


def _singular(words: pa.Array) -> pa.Array:
    for pattern, replacement in _PLURALS:
        words = pc.replace_substring_regex(words, pattern, replacement)
    return words
