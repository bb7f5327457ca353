"""Fitting trees on what validation users took, and whether they rank better than the weights alone.

The trees are boosted (Friedman, 2001; LightGBM, Ke et al., NeurIPS 2017) from the score by the weights, by the
listwise softmax over a user's best candidates (ListNet; Bruch et al., "An alternative cross entropy loss for
learning-to-rank", WWW 2021). So few users give few and small corrections, not a ranking of their own.

Cross-fitting decides: trees are fitted on three quarters of the users and rank for the last quarter, from the same
weights as without them. The number of trees is the one that ranks best there. What they gain is measured with the
number that is best for the other quarters: the best of thirteen numbers would always seem to gain something.

Shapes: B users, C candidates, F features, M best candidates, N rows, S numbers of all signals.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.ranking.choices import Choices
from recsys.ranking.cross_fit import FOLDS
from recsys.ranking.fusion import Bools, Fusion
from recsys.ranking.fusion_fit import clearly_positive
from recsys.ranking.fusion_objective import CONSTANT
from recsys.ranking.log_softmax import log_softmax
from recsys.ranking.tree_correction import has_trees, redistribute
from recsys.ranking.tree_features import RANK, best_candidates, tree_features
from recsys.ranking.trees import NODE_TYPES, Trees
from recsys.signals.registry import HISTORY_LENGTH

Floats = npt.NDArray[np.float64]

#: With fewer validation users who took one of their candidates the weights stay alone: what trees gained there was
#: chance. In three nights of Amazon Scientific with about 550 users they were worth −.0019, −.0025 and +.0030.
MIN_USERS = 700
#: Trees at most, and the numbers of trees that are compared.
MOST_TREES, STEP = 60, 5
#: Trees stay if their gain is above so many of its standard errors; it has no bias for which a stricter rule must make
#: up. In 24 samples of 700 to 1,500 users of Amazon Toys, Yelp and Goodreads it kept trees 13 times; to other users of
#: these sets they were worth .0043. The gain of the best number, above one error, kept 15 that were worth .0033.
KEPT_ERRORS = 0.5
#: Small trees, none of whose leaves stands on a few users: on Amazon Toys 7 leaves ranked as well as 15 or 31.
SETTINGS: dict[str, Any] = {
    "num_leaves": 7,
    "learning_rate": 0.1,
    "min_data_in_leaf": 100,
    "min_sum_hessian_in_leaf": 5.0,
    "lambda_l2": 5.0,
    "max_bin": 255,
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTrees:
    """Trees, and what cross-fitting says of them."""

    trees: Trees | None
    """None: the weights alone rank as well, or there were too few users."""
    users: int = 0
    """Users that were compared."""
    ndcg: float = 0.0
    """NDCG@10 with the trees for users who were not fitted on."""
    ndcg_without: float = 0.0
    """The same by weights alone."""


def fit_trees(
    choices: Choices, names: Sequence[str], fusion: Fusion, allowed: Collection[str] | None = None
) -> FittedTrees:
    """The trees that correct the weights, if they rank better for users whom they were not fitted on.

    Args:
        choices: Of users with their whole histories.
        names: [S].
        fusion: The fitted weights, from which the trees start.
        allowed: Numbers that may be asked for; None: all.
    """
    choices = choices.with_positives()
    choices = choices.rows(has_trees(choices.lengths, choices.in_session))
    users = len(choices.taken)
    if users < MIN_USERS:
        return FittedTrees(trees=None, users=users)
    usable = choices.spread() > CONSTANT
    asked = [name for name, free in zip(names, usable, strict=True) if free and (allowed is None or name in allowed)]
    problem = _Problem.of(choices, fusion, names, (*asked, *(RANK + name for name in asked), HISTORY_LENGTH))
    fold = np.arange(users) % FOLDS
    values = _cross_fit(choices, problem, fold)
    found, without = _by_the_best_number(values, fold), values[0]
    best = int(values.mean(axis=1).argmax())
    trees = problem.boost(best * STEP) if best and clearly_positive(found - without, KEPT_ERRORS) else None
    return FittedTrees(trees=trees, users=users, ndcg=float(found.mean()), ndcg_without=float(without.mean()))


def _by_the_best_number(values: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    """[B] NDCG@10 of each user, of `_cross_fit`, by the number of trees that is best for the other folds."""
    found = np.zeros(len(fold))
    for number in range(FOLDS):
        own = fold == number
        found[own] = values[values[:, ~own].mean(axis=1).argmax(), own]
    return found


def _cross_fit(choices: Choices, problem: "_Problem", fold: npt.NDArray[np.int64]) -> Floats:
    """[1 + MOST_TREES / STEP, B] NDCG@10 of the users by 0, STEP … trees that were fitted on users of other folds."""
    values = np.zeros((1 + MOST_TREES // STEP, len(fold)))
    for held_out in range(FOLDS):
        trees = problem.of_users(fold != held_out).boost(MOST_TREES)
        judged, others = problem.of_users(fold == held_out), choices.rows(fold == held_out)
        added = np.zeros((len(judged.rows), 1 + len(trees.roots)))
        added[:, 1:] = np.cumsum(trees.value[trees.leaves(judged.rows)], axis=1)
        for place in range(len(values)):
            scores = judged.corrected(added[:, min(place * STEP, len(trees.roots))])
            values[place, fold == held_out] = others.ndcg_of(scores)
    return values


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """The best candidates of users, as rows for LightGBM."""

    names: tuple[str, ...]
    features: tuple[str, ...]
    log_p: npt.NDArray[np.float32]
    """[B, C] by the weights."""
    best: npt.NDArray[np.int64]
    """[B, M] columns of the best candidates, −1 for none."""
    rows: npt.NDArray[np.float32]
    """[N, F] of those that there are."""
    taken: Bools
    """[N]."""

    @classmethod
    def of(cls, choices: Choices, fusion: Fusion, names: Sequence[str], features: Sequence[str]) -> "_Problem":
        """What the weights leave to do."""
        weights = fusion.of_users(names, choices.lengths, choices.in_session)
        log_p = log_softmax(choices.scores(weights))
        best = best_candidates(log_p)
        there = best >= 0
        return cls(
            names=tuple(names),
            features=tuple(features),
            log_p=log_p,
            best=best,
            rows=tree_features(features, names, choices.numbers, best, choices.lengths)[there],
            taken=np.take_along_axis(choices.taken, np.maximum(best, 0), axis=1)[there],
        )

    def of_users(self, users: Bools) -> "_Problem":
        """The same for some users, by a mask [B]."""
        own = np.repeat(users, (self.best >= 0).sum(axis=1))
        kept = {name: getattr(self, name)[users] for name in ("log_p", "best")}
        return replace(self, rows=self.rows[own], taken=self.taken[own], **kept)

    def corrected(self, added: Floats) -> npt.NDArray[np.float32]:
        """[B, C] log P where this [N] is added."""
        spread = np.zeros(self.best.shape)
        spread[self.best >= 0] = added
        return redistribute(self.log_p, self.best, spread)

    def boost(self, num: int) -> Trees:
        """At most so many trees, fitted on the users whose best candidates hold one that they took."""
        import lightgbm  # a second and a half that shops with few users need not wait for

        there = self.best >= 0
        sizes = there.sum(axis=1)
        owners = np.repeat(np.arange(len(sizes)), sizes)
        with_taken = np.bincount(owners, self.taken, minlength=len(sizes)) > 0
        chosen = with_taken[owners]
        start = np.take_along_axis(self.log_p, np.maximum(self.best, 0), axis=1)[there][chosen]
        data = lightgbm.Dataset(
            self.rows[chosen],
            self.taken[chosen].astype(np.float32),
            init_score=start.astype(np.float64),
            params={"verbosity": -1, "max_bin": SETTINGS["max_bin"]},
        )
        objective = _softmax(sizes[with_taken])
        booster = lightgbm.train({**SETTINGS, "objective": objective}, data, num)
        return _trees_of(booster.dump_model(), self.features, self.names)


def _softmax(sizes: npt.NDArray[np.int64]) -> Callable[[Floats, Any], tuple[Floats, Floats]]:
    """First and second derivatives of the listwise softmax loss, for users with so many rows each."""
    starts, owners = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)

    def derivatives(scores: Floats, data: Any) -> tuple[Floats, Floats]:
        taken = data.get_label()
        raised = np.exp(scores - np.maximum.reduceat(scores, starts)[owners])
        probability = raised / np.add.reduceat(raised, starts)[owners]
        truth = taken / np.add.reduceat(taken, starts)[owners]
        return probability - truth, np.maximum(probability * (1 - probability), 1e-6)

    return derivatives


def _trees_of(model: dict[str, Any], features: Sequence[str], names: Sequence[str]) -> Trees:
    """LightGBM's trees as ours."""
    nodes: dict[str, list[Any]] = {name: [] for name in NODE_TYPES}

    def add(tree: dict[str, Any]) -> int:
        node, is_leaf = len(nodes["value"]), "leaf_value" in tree
        nodes["feature"].append(0 if is_leaf else tree["split_feature"])
        nodes["threshold"].append(np.inf if is_leaf else _at_most(tree["threshold"]))
        nodes["value"].append(tree["leaf_value"] if is_leaf else tree["internal_value"])
        for side in ("left", "right"):
            nodes[side].append(node)
        if not is_leaf:
            for side in ("left", "right"):
                nodes[side][node] = add(tree[f"{side}_child"])
        return node

    # a tree without a split adds the same for all rows
    roots = [add(tree["tree_structure"]) for tree in model["tree_info"] if tree["num_leaves"] > 1]
    return Trees.of(names, features, roots, nodes)


def _at_most(threshold: float) -> np.float32:
    """The largest float32 that is not above: a float32 is at most this one where it is at most the threshold."""
    found = np.float32(threshold)
    return np.nextafter(found, np.float32(-np.inf)) if found > threshold else found
