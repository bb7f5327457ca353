"""Relative gains: their example, and what they say of no difference."""

import doctest

import numpy as np

from recsys.evaluation import gain
from recsys.evaluation.gain import relative_gain


def test_the_example_is_right() -> None:
    found = doctest.testmod(gain)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_interval_of_no_difference_holds_zero() -> None:
    random = np.random.default_rng(0)
    values, without = random.random((2, 500))
    found = relative_gain(values, without, seed=1)
    assert found is not None
    assert found.low < 0 < found.high
    assert found.users == 500


def test_the_interval_of_a_large_gain_holds_it_as_often_as_it_says() -> None:
    """Every hit without the part stays, and the part adds as many again: it is +100 %, whoever is drawn."""
    random = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        without = (random.random(250) < 0.2).astype(np.float64)
        values = np.where(without > 0, without, random.random(250) < 0.25)
        found = relative_gain(values, without, seed)
        assert found is not None
        held += found.low <= 100 <= found.high
    assert 182 <= held <= 198, f"{held} of 200"


def test_of_a_metric_of_zero_there_are_no_percent() -> None:
    assert relative_gain(np.ones(3), np.zeros(3), seed=0) is None
    assert relative_gain(np.zeros(3), np.zeros(3), seed=0) is None
