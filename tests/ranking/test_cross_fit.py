"""NDCG by weights of other users: what a fit on the same users pretends to gain is no gain."""

import numpy as np

from recsys.ranking.cross_fit import FOLDS, cross_fitted_ndcg
from tests.ranking.test_fusion import NAMES, fitted, simulate

SEED = 3


def test_numbers_that_say_nothing_add_nothing() -> None:
    in_sample, on_others = [], []
    for seed in range(20):
        choices = simulate(seed, 40, weights=(1.0, 0.0, 0.0, 0.0))
        in_sample.append(fitted(choices).ndcg - fitted(choices, ["strong"]).ndcg)
        values = [cross_fitted_ndcg(choices, NAMES, names, SEED).mean() for names in (NAMES, ("strong",))]
        on_others.append(values[0] - values[1])
    assert np.mean(in_sample) > 0.005, "else this test shows nothing"
    assert np.mean(on_others) < 0


def test_numbers_that_say_something_add_it() -> None:
    choices = simulate(2, 400)
    whole = cross_fitted_ndcg(choices, NAMES, NAMES, SEED)
    less = cross_fitted_ndcg(choices, NAMES, ("weak", "misleading"), SEED)
    assert whole.shape == (400,)
    assert whole.mean() > less.mean() + 0.1
    np.testing.assert_allclose(whole.mean(), fitted(choices).ndcg, atol=0.02)


def test_the_result_is_the_same_again() -> None:
    choices = simulate(4, FOLDS)
    first, again = (cross_fitted_ndcg(choices, NAMES, NAMES, SEED) for _ in range(2))
    np.testing.assert_array_equal(first, again)
