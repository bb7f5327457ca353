"""Trees say the same after they were stored, their parts add up, and what is damaged is refused.

Shapes: F features, N rows, S numbers, T trees.
"""

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InputError
from recsys.ranking.tree_features import RANK
from recsys.ranking.trees import Trees
from recsys.signals.registry import HISTORY_LENGTH
from tests.ranking.random_trees import random_trees

NAMES = ("one", "two")


def rows_of(
    trees: Trees, seed: int, num: int = 37, length: float | None = None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[N, F] random features; of one user where a length is given."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(num, len(trees.features))).astype(np.float32)
    for place, name in enumerate(trees.features):
        if name == HISTORY_LENGTH or name.startswith(RANK):
            rows[:, place] = random.integers(0, 9, num)
            if name == HISTORY_LENGTH and length is not None:
                rows[:, place] = length
    return rows


def walked(trees: Trees, row: Any) -> list[int]:
    """The leaves of a row, one step after the other."""
    found = []
    for node in trees.roots:
        while trees.left[node] != node:
            goes_right = row[trees.feature[node]] > trees.threshold[node]
            node = trees.right[node] if goes_right else trees.left[node]
        found.append(int(node))
    return found


@given(st.integers(0, 99), st.integers(1, 40), st.integers(0, 6))
def test_each_row_comes_to_its_leaves(seed: int, num: int, splits: int) -> None:
    trees = random_trees(NAMES, seed, splits=splits)
    rows = rows_of(trees, seed, num)
    leaves = trees.leaves(rows)
    assert leaves.tolist() == [walked(trees, row) for row in rows]
    np.testing.assert_allclose(trees.added(leaves), trees.value[leaves].sum(axis=1), rtol=1e-6)
    again = Trees.from_dict(json.loads(json.dumps(trees.as_dict())), NAMES)
    np.testing.assert_array_equal(again.leaves(rows), leaves)
    np.testing.assert_array_equal(again.added(leaves), trees.added(leaves))


@given(st.integers(0, 99), st.integers(0, 8))
def test_parts_add_up_among_the_candidates_of_a_user(seed: int, length: int) -> None:
    """All have the user's length of the history, so that a split on it lifts none of them above the others."""
    trees = random_trees(NAMES, seed)
    leaves = trees.leaves(rows_of(trees, seed, length=length))
    difference = trees.parts(leaves).sum(axis=1) - trees.added(leaves)
    np.testing.assert_allclose(difference, difference[0], atol=1e-5)


def test_a_rank_counts_for_its_number_and_a_length_for_the_split_above_it() -> None:
    tree = {
        "feature": [0, 1, 0, 0, 0, 0, 0],
        "threshold": [0.5, 3.0, None, 2.0, None, None, None],
        "left": [1, 3, 2, 5, 4, 5, 6],
        "right": [2, 4, 2, 6, 4, 5, 6],
        "value": [0.0, 1.0, -1.0, 1.5, 0.25, 4.0, 1.0],
    }
    tree["feature"][3] = 2
    features = ["one", HISTORY_LENGTH, f"{RANK}two"]
    trees = Trees.from_dict({"features": features, "trees": [tree]}, NAMES)
    parts = trees.parts(np.array([[2], [4], [5], [6]], dtype=np.int32))
    np.testing.assert_allclose(parts, [[-1, 0], [0.25, 0], [1.5, 2.5], [1.5, -0.5]])


GOOD = random_trees(NAMES).as_dict()
NUMBERS = ("feature", "threshold", "value")


def without(tree: dict[str, Any], name: str) -> None:
    del tree[name]


@pytest.mark.parametrize(
    ("said", "damage"),
    [
        ("'value'", lambda tree: without(tree, "value")),
        ("unequal length", lambda tree: tree["left"].append(0)),
        ("unequal length", lambda tree: tree.update({name: [] for name in tree})),
        ("is none", lambda tree: tree["left"].__setitem__(0, 0)),
        (
            "has a circle",
            lambda tree: tree.update(left=[1, 1, 2, 4, 4], right=[2, 1, 2, 3, 4], **dict.fromkeys(NUMBERS, [0] * 5)),
        ),
        ("is none", lambda tree: tree["right"].__setitem__(0, tree["left"][0])),
        ("is none", lambda tree: tree["left"].__setitem__(0, 99)),
        ("not there", lambda tree: tree["feature"].__setitem__(0, 99)),
        ("not there", lambda tree: tree["feature"].__setitem__(0, -1)),
        ("a number that is none", lambda tree: tree["threshold"].__setitem__(0, None)),
        ("a number that is none", lambda tree: tree["value"].__setitem__(0, float("nan"))),
        ("could not convert", lambda tree: tree["value"].__setitem__(0, "much")),
    ],
)
def test_damaged_trees_are_refused(said: str, damage: Any) -> None:
    damaged = copy.deepcopy(GOOD)
    damage(damaged["trees"][1])
    with pytest.raises(InputError, match="the trees of the fusion are damaged") as caught:
        Trees.from_dict(damaged, NAMES)
    assert said in str(caught.value)


@pytest.mark.parametrize("stored", [{}, {"features": [], "trees": []}, {"features": ["three"], "trees": GOOD["trees"]}])
def test_what_holds_no_trees_of_these_numbers_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Trees.from_dict(stored, NAMES)


def test_features_of_a_signal_that_is_gone_are_named() -> None:
    assert Trees.unknown_features(GOOD, NAMES) == []
    assert Trees.unknown_features(GOOD, NAMES[:1]) == ["rank:two", "two"]
