"""Trees are kept where they rank better for users whom they were not fitted on, and only there.

Shapes: B users, C candidates, N rows, S numbers.
"""

import numpy as np
import numpy.typing as npt
import pytest

from recsys.ranking import trees_fit as module
from recsys.ranking.choices import Choices
from recsys.ranking.fusion import Fusion
from recsys.ranking.log_softmax import log_softmax
from recsys.ranking.tree_correction import TreeCorrection
from recsys.ranking.trees_fit import fit_trees

NAMES = ("strong", "gate", "constant")
WEIGHTS = Fusion(weights={"strong": 1.5, "gate": 0.0})


def simulate(seed: int, num_users: int, gated: bool, in_session: bool = False) -> Choices:
    """What users took: by a weight alone, or by a weight that turns round where another number is above 0."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(num_users, 20, 3)).astype(np.float32)
    numbers[:, :, 2] = 3.0
    sign = np.where(numbers[:, :, 1] > 0, -0.5, 1) if gated else 1
    logits = 1.5 * sign * numbers[:, :, 0] + random.gumbel(size=numbers.shape[:2])
    taken = np.zeros(logits.shape, dtype=bool)
    taken[np.arange(num_users), logits.argmax(axis=1)] = True
    taken[::4] = False  # they took none of their candidates
    return Choices(
        numbers=numbers,
        valid=np.ones(taken.shape, dtype=bool),
        taken=taken,
        lengths=random.integers(1, 9, num_users),
        in_session=np.full(num_users, in_session),
    )


def ndcg(choices: Choices, scores: npt.NDArray[np.float32]) -> float:
    took = choices.taken.any(axis=1)
    return float(choices.rows(took).ndcg_of(scores[took]).mean())


def test_trees_find_what_weights_cannot_say() -> None:
    found = fit_trees(simulate(0, 1000, gated=True), NAMES, WEIGHTS)
    assert found.trees is not None
    assert found.users == 750
    assert found.ndcg > found.ndcg_without + 0.03
    others = simulate(1, 1000, gated=True)
    before = log_softmax(others.scores(WEIGHTS.vector(NAMES)))
    after = TreeCorrection.of(found.trees, others.numbers, before, others.lengths).correct(before)
    assert ndcg(others, before) == pytest.approx(found.ndcg_without, abs=0.05)
    assert ndcg(others, after) == pytest.approx(found.ndcg, abs=0.05)
    assert {name.removeprefix("rank:") for name in found.trees.features} == {"strong", "gate", "length"}
    np.testing.assert_allclose(found.trees.value[found.trees.roots], 0, atol=1e-6)
    again = fit_trees(simulate(0, 1000, gated=True), NAMES, WEIGHTS)
    assert again.trees is not None
    assert again.trees.as_dict() == found.trees.as_dict()


def test_trees_ask_only_for_what_is_allowed() -> None:
    found = fit_trees(simulate(0, 1000, gated=True), NAMES, WEIGHTS, {"gate", "constant"})
    assert found.trees is None or "strong" not in {name.removeprefix("rank:") for name in found.trees.features}


def test_no_trees_where_the_weights_say_it_all() -> None:
    found = fit_trees(simulate(0, 1000, gated=False), NAMES, WEIGHTS)
    assert found.trees is None
    assert found.ndcg < found.ndcg_without + 0.01


def test_the_gain_of_the_best_of_many_numbers_of_trees_is_not_flattering() -> None:
    """Thirteen numbers that all rank alike but for chance: the best of them gains much, on the users that chose it."""
    fold = np.arange(800) % module.FOLDS
    gains = []
    for seed in range(40):
        values = np.random.default_rng(seed).normal(size=(13, len(fold)))
        assert values.mean(axis=1).max() > 0.02
        gains.append(module._by_the_best_number(values, fold).mean() - values.mean())
    assert abs(np.mean(gains)) < 3 * np.std(gains) / np.sqrt(len(gains))
    better = np.zeros((13, len(fold)))
    better[4] = 1.0
    np.testing.assert_array_equal(module._by_the_best_number(better, fold), 1.0)


def test_no_trees_for_few_users_or_for_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    few = simulate(0, module.MIN_USERS, gated=True)
    in_session = simulate(0, 1000, gated=True, in_session=True)
    monkeypatch.setattr(module, "_cross_fit", None)  # it is not even tried
    assert fit_trees(few, NAMES, WEIGHTS).trees is None
    assert fit_trees(in_session, NAMES, WEIGHTS).users == 0


def test_stored_trees_are_those_of_lightgbm() -> None:
    """Each row comes to the same leaf, also where a number is the threshold itself."""
    lightgbm = pytest.importorskip("lightgbm")
    random = np.random.default_rng(0)
    rows = random.normal(size=(3000, 2)).astype(np.float32).round(1)
    target = np.where(rows[:, 0] > 0.3, rows[:, 1], -rows[:, 1])
    booster = lightgbm.train(
        {**module.SETTINGS, "objective": "regression", "boost_from_average": False},
        lightgbm.Dataset(rows, target, params={"verbosity": -1}),
        20,
    )
    trees = module._trees_of(booster.dump_model(), ("one", "two"), ("one", "two"))
    np.testing.assert_allclose(trees.added(trees.leaves(rows)), booster.predict(rows), atol=1e-4)
