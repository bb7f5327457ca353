"""Smooth NDCG: near to the exact one where scores lie far apart, and with slopes that are its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.approx_ndcg import approx_ndcg

CUT = 10


def example(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores [4, 15], some of no candidate, and what was taken of the others."""
    random = np.random.default_rng(seed)
    scores = scale * random.permuted(np.tile(np.arange(15.0), (4, 1)), axis=1)
    taken = random.random(scores.shape) < 0.2
    taken[:, 0] = True
    scores[:, 14] = -np.inf
    taken[:, 14] = False
    return scores, taken


@given(st.integers(0, 9999))
def test_far_apart_it_is_the_ndcg_of_the_whole_list(seed: int) -> None:
    scores, taken = example(seed, 20.0)
    values, slopes = approx_ndcg(scores, taken, CUT)
    for value, row, hits in zip(values, scores, taken, strict=True):
        ranks = np.flatnonzero(hits[np.argsort(-row)]) + 1
        best = (1 / np.log2(1 + np.arange(1, min(hits.sum(), CUT) + 1))).sum()
        assert value == pytest.approx((1 / np.log2(1 + ranks)).sum() / best, rel=1e-6)
    np.testing.assert_allclose(slopes, 0, atol=1e-6)


@given(st.integers(0, 9999), st.floats(0.01, 0.5))
def test_slopes_are_those_of_small_steps(seed: int, scale: float) -> None:
    scores, taken = example(seed, scale)
    _, slopes = approx_ndcg(scores, taken, CUT)
    step = 1e-5
    for column in range(scores.shape[1]):
        up, down = scores.copy(), scores.copy()
        up[:, column] += step
        down[:, column] -= step
        slope = (approx_ndcg(up, taken, CUT)[0] - approx_ndcg(down, taken, CUT)[0]) / (2 * step)
        np.testing.assert_allclose(slopes[:, column], slope, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(slopes.sum(axis=1), 0, atol=1e-9, err_msg="what all have alike tells nothing")
    assert (slopes[:, 14] == 0).all()
