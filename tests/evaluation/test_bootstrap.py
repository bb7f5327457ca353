"""Intervals of paired differences."""

import math

import numpy as np

from recsys.evaluation import bootstrap
from recsys.evaluation.bootstrap import paired_bootstrap


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    intervals = [paired_bootstrap(random.normal(0.1, 1, 200), num_samples=300, seed=seed) for seed in range(200)]
    share = np.mean([interval.low <= 0.1 <= interval.high for interval in intervals])
    assert 0.88 < share < 0.99
    assert all(interval.low <= interval.mean <= interval.high for interval in intervals)


def test_the_interval_is_as_wide_as_theory_has_it():
    difference = np.random.default_rng(1).normal(0, 1, 5000)
    interval = paired_bootstrap(difference, seed=0)
    assert interval == paired_bootstrap(difference, seed=0)
    assert interval != paired_bootstrap(difference, seed=1)
    assert math.isclose(interval.high - interval.low, 2 * 1.96 * difference.std() / math.sqrt(5000), rel_tol=0.1)
    narrow = paired_bootstrap(difference, seed=0, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high


def test_chunks_of_resamples_add_up(monkeypatch):
    sizes = []
    monkeypatch.setattr(bootstrap, "_BOOTSTRAP_CELLS", 100)
    real = np.random.default_rng

    class Recording:
        def __init__(self, seed):
            self.generator = real(seed)

        def integers(self, low, high, size):
            sizes.append(size)
            return self.generator.integers(low, high, size=size)

    monkeypatch.setattr(np.random, "default_rng", Recording)
    paired_bootstrap(np.arange(30.0), num_samples=10)
    assert sizes == [(3, 30), (3, 30), (3, 30), (1, 30)]
