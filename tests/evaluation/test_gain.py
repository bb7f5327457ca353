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


def test_of_a_metric_of_zero_there_are_no_percent() -> None:
    assert relative_gain(np.ones(3), np.zeros(3), seed=0) is None
    assert relative_gain(np.zeros(3), np.zeros(3), seed=0) is None
