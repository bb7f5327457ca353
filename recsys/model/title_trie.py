"""A trie of the catalog's titles: which tokens may follow what was written so far, so that only titles are written.

The titles are sorted by their tokens, so a node of the trie is a range of rows, and nothing else has to be stored:
100,000 titles of 20 tokens take 8 MB.

Shapes: N items, T tokens of the longest title, K children of a node.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.model.title_scorer import Tokens

Ints = npt.NDArray[np.int64]

#: After the last token of a title.
_END = -1


@dataclass(frozen=True, slots=True)
class Node:
    """All titles that begin with the same tokens."""

    start: int
    stop: int
    """Rows of the trie."""
    depth: int
    """Number of these tokens."""


class TitleTrie:
    """The titles of some items."""

    def __init__(self, titles: Sequence[Tokens], items: Ints) -> None:
        """Sort the titles.

        Args:
            titles: [N], none of them empty; several items may have the same.
            items: [N] catalog indices.
        """
        longest = max(map(len, titles), default=0)
        tokens = np.full((len(titles), longest + 1), _END, dtype=np.int32)
        for row, title in enumerate(titles):
            tokens[row, : len(title)] = title
        order = np.lexsort((items, *tokens.T[::-1]))
        self._tokens, self._items = tokens[order], np.asarray(items)[order]
        self.root = Node(0, len(titles), 0)

    def children(self, node: Node) -> tuple[Ints, list[Node]]:
        """[K] tokens that may follow, ascending, and the node of each."""
        column = self._tokens[node.start : node.stop, node.depth]
        first = int(np.searchsorted(column, _END, side="right"))
        tokens, starts = np.unique(column[first:], return_index=True)
        bounds = [*(starts + first + node.start).tolist(), node.stop]
        nodes = [Node(start, stop, node.depth + 1) for start, stop in itertools.pairwise(bounds)]
        return tokens.astype(np.int64), nodes

    def items(self, node: Node) -> Ints:
        """The items whose whole title was written, ascending; mostly none."""
        column = self._tokens[node.start : node.stop, node.depth]
        return self._items[node.start : node.start + int(np.searchsorted(column, _END, side="right"))]
