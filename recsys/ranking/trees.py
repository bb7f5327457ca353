"""Regression trees that correct the weighted sum of the signals: score = Σ wᵢ · sᵢ + Σ trees.

`recsys.ranking.trees_fit` fits them with LightGBM; this file holds, checks and evaluates them. The code that evaluates
them is our own, so that the live service needs no LightGBM, and that each row costs less than a microsecond.

What a tree adds is split up by feature, as in Saabas ("Interpreting random forests", 2014): each node has a value,
what it would add if it were a leaf, and each split on the way to a leaf counts what it changes that value by. A root
has 0, since the slopes of a softmax sum to 0. So these parts add up to what the tree adds, and they belong to the leaf,
so that they cost nothing to look up. A split on the length of the history says nothing of an item: what it changes
counts for the split above it. Without one above, it is the same for all candidates of the user, whose order it leaves
as it is.

Shapes: B users, C candidates, F features, M best candidates, N rows, S numbers of all signals, T trees, V nodes of all
trees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.errors import InputError
from recsys.ranking.tree_features import RANK, feature_names

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Nodes = npt.NDArray[np.int32]

#: Decimals of the values of nodes.
DIGITS = 6
#: Rows that walk down a tree together: the processor waits for memory once, and not once a row.
_TOGETHER = 16
#: Type of each array that holds a number of every node.
NODE_TYPES = {"feature": np.int32, "threshold": np.float32, "left": np.int32, "right": np.int32, "value": np.float32}


@dataclass(frozen=True, kw_only=True, eq=False)
class Trees:
    """Binary trees, node by node; a node comes before those below it, and a tree before the next one.

    A row goes to the left where its feature is at most the threshold. A leaf leads to itself on both sides.
    """

    columns: tuple[str, ...]
    """[S] names of the signals' numbers."""
    features: tuple[str, ...]
    """[F] names, see `recsys.ranking.tree_features.feature_names`."""
    roots: Nodes
    """[T] node of each root."""
    feature: Nodes
    """[V] which feature a node asks for; of a leaf: 0."""
    threshold: Floats
    """[V]."""
    left: Nodes
    """[V]."""
    right: Nodes
    """[V]."""
    value: Floats
    """[V] what a leaf adds to the score, in nats; of other nodes: what they would add as leaves, 0 for a root."""

    @classmethod
    def of(
        cls, columns: Sequence[str], features: Sequence[str], roots: Sequence[int], nodes: Mapping[str, npt.ArrayLike]
    ) -> "Trees":
        """From the numbers of all nodes, by the names of `NODE_TYPES`."""
        arrays: dict[str, Any] = {name: np.asarray(nodes[name], dtype=kind) for name, kind in NODE_TYPES.items()}
        return cls(columns=tuple(columns), features=tuple(features), roots=np.array(roots, dtype=np.int32), **arrays)

    def leaves(self, rows: Floats) -> Nodes:
        """[N, T] the leaf that each row [N, F] comes to in each tree."""
        found = np.zeros((len(rows), len(self.roots)), dtype=np.int32)
        _walk(rows, self.feature, self.threshold, self._below, self.roots, self._depths, found)
        return found

    def added(self, leaves: Nodes) -> Floats:
        """[N] what the trees add to the score of rows that come to these leaves [N, T]."""
        return np.asarray(self.value[leaves].sum(axis=1), dtype=np.float32)

    def parts(self, leaves: Nodes) -> Floats:
        """[N, S] what each number adds to the score of rows that come to these leaves [N, T]."""
        found = np.zeros((len(leaves), len(self.columns)), dtype=np.float32)
        _sum_parts(leaves, self._parts, found)
        return found

    @cached_property
    def _parts(self) -> Floats:
        """[V, S] what each number adds on the way to each node; 0 for a number that no tree asks for."""
        places = {name: place for place, name in enumerate(self.columns)}
        owners = [places.get(name.removeprefix(RANK), -1) for name in self.features]
        found = np.zeros((len(self.value), len(self.columns)), dtype=np.float32)
        above = np.full(len(self.value), -1)  # of each node: the number of the last split on a number above it
        for node in range(len(self.value)):
            owner = owners[self.feature[node]]
            owner = above[node] if owner < 0 else owner
            for child in {self.left[node], self.right[node]} - {node}:
                found[child], above[child] = found[node], owner
                if owner >= 0:
                    found[child, owner] += self.value[child] - self.value[node]
        return found

    @cached_property
    def _below(self) -> Nodes:
        """[2V] left and right of each node, one after the other."""
        return np.stack([self.left, self.right], axis=1).ravel()

    @cached_property
    def _depths(self) -> Nodes:
        """[T] splits on the longest way down each tree."""
        depth = np.zeros(len(self.value), dtype=np.int32)
        for node in range(len(self.value)):
            for child in {self.left[node], self.right[node]} - {node}:
                depth[child] = depth[node] + 1
        return np.maximum.reduceat(depth, self.roots)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON: the features, and one object a tree, whose nodes count from its root."""
        ends = [*self.roots[1:].tolist(), len(self.value)]
        return {
            "features": list(self.features),
            "trees": [
                {
                    "feature": self.feature[root:end].tolist(),
                    "threshold": [
                        number if np.isfinite(number) else None for number in self.threshold[root:end].tolist()
                    ],
                    "left": (self.left[root:end] - root).tolist(),
                    "right": (self.right[root:end] - root).tolist(),
                    "value": [round(number, DIGITS) for number in self.value[root:end].tolist()],
                }
                for root, end in zip(self.roots.tolist(), ends, strict=True)
            ],
        }

    @staticmethod
    def unknown_features(stored: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
        """Features of stored trees that these numbers [S] do not make, such as those of a signal that is gone."""
        return sorted({str(name) for name in stored.get("features", ())} - set(feature_names(columns)))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], columns: Sequence[str]) -> "Trees":
        """The trees of `as_dict`, after all that they hold was checked.

        Args:
            stored: As it was read.
            columns: [S] names of the signals' numbers.

        Raises:
            InputError: the values are none of `as_dict`, a tree has a circle, or a feature is unknown.
        """
        try:
            return _checked(stored, columns)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"the trees of the fusion are damaged ({error}); train the model again") from error


def _checked(stored: Mapping[str, Any], columns: Sequence[str]) -> Trees:
    features = tuple(str(name) for name in stored["features"])
    if unknown := Trees.unknown_features(stored, columns):
        raise ValueError(f"unknown features {unknown}")
    found: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in NODE_TYPES}
    roots: list[int] = []
    start = 0
    for tree in stored["trees"]:
        size = len(tree["value"])
        own = np.arange(size)
        arrays = {name: np.array(tree[name], dtype=np.int64) for name in ("feature", "left", "right")}
        arrays |= {name: np.array(tree[name], dtype=np.float32) for name in ("threshold", "value")}
        if not size or any(array.shape != (size,) for array in arrays.values()):
            raise ValueError(f"tree {len(roots)} has arrays of unequal length")
        left, right, leaf = arrays["left"], arrays["right"], arrays["left"] == own
        below = np.concatenate([left[~leaf], right[~leaf]])
        if (right[leaf] != own[leaf]).any() or sorted(below.tolist()) != list(range(1, size)):
            raise ValueError(f"tree {len(roots)} is none")
        if (left[~leaf] <= own[~leaf]).any() or (right[~leaf] <= own[~leaf]).any():
            raise ValueError(f"tree {len(roots)} has a circle")
        if (arrays["feature"] < 0).any() or (arrays["feature"] >= len(features)).any():
            raise ValueError(f"tree {len(roots)} asks for a feature that is not there")
        if not np.isfinite(arrays["value"]).all() or not np.isfinite(arrays["threshold"][~leaf]).all():
            raise ValueError(f"tree {len(roots)} holds a number that is none")
        arrays["threshold"][leaf] = np.inf
        for name, array in arrays.items():
            found[name].append(array + start if name in ("left", "right") else array)
        roots.append(start)
        start += size
    if not roots:
        raise ValueError("there is no tree")
    return Trees.of(columns, features, roots, {name: np.concatenate(found[name]) for name in found})


@compiled
def _walk(
    rows: Floats, feature: Nodes, threshold: Floats, below: Nodes, roots: Nodes, depths: Nodes, found: Nodes
) -> None:
    """Write the leaf of each row in each tree."""
    at = np.empty(_TOGETHER, dtype=np.int32)
    for start in range(0, len(rows), _TOGETHER):
        num = min(_TOGETHER, len(rows) - start)
        for tree in range(len(roots)):
            for row in range(num):
                at[row] = roots[tree]
            for _ in range(depths[tree]):
                for row in range(num):
                    node = at[row]
                    at[row] = below[2 * node + (rows[start + row, feature[node]] > threshold[node])]
            for row in range(num):
                found[start + row, tree] = at[row]


@compiled
def _sum_parts(leaves: Nodes, parts: Floats, found: Floats) -> None:
    for row in range(len(leaves)):
        for leaf in leaves[row]:
            for column in range(parts.shape[1]):
                found[row, column] += parts[leaf, column]
