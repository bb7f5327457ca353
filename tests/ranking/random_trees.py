"""Trees with random splits, for tests of what uses them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsys.ranking.tree_features import RANK, feature_names
from recsys.ranking.trees import Trees
from recsys.signals.registry import HISTORY_LENGTH


def random_trees(columns: Sequence[str], seed: int = 0, num: int = 6, splits: int = 5) -> Trees:
    """Trees that ask for numbers of these names, their ranks and the length of the history."""
    random, features = np.random.default_rng(seed), feature_names(columns)
    stored = [_random_tree(random, features, splits) for _ in range(num)]
    return Trees.from_dict({"features": list(features), "trees": stored}, columns)


def _random_tree(random: np.random.Generator, features: Sequence[str], splits: int) -> dict[str, Any]:
    left, right, leaves = [0], [0], [0]
    for _ in range(splits):
        node, new = leaves.pop(int(random.integers(len(leaves)))), len(left)
        left[node], right[node] = new, new + 1
        left += [new, new + 1]
        right += [new, new + 1]
        leaves += [new, new + 1]
    asked = random.integers(0, len(features), len(left))
    middle = [4.0 if features[one] == HISTORY_LENGTH or features[one].startswith(RANK) else 0.0 for one in asked]
    return {
        "feature": asked.tolist(),
        "threshold": [
            None if node in leaves else round(float(one + random.normal()), 3) for node, one in enumerate(middle)
        ],
        "left": left,
        "right": right,
        "value": random.normal(size=len(left)).round(3).tolist(),
    }
