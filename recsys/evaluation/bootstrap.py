"""How sure one can be of a difference between two models. Shapes: U users."""

from dataclasses import dataclass

import numpy as np

from recsys.evaluation.metrics.metric import Floats

#: Cells of the resampled matrix held at once.
_BOOTSTRAP_CELLS = 2**20


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and the bounds between which it lies with the given confidence."""

    mean: float
    low: float
    high: float


def paired_bootstrap(difference: Floats, num_samples: int = 1000, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile interval of the mean of per-user differences [U], users resampled (Sakai, SIGIR 2006).

    Memory does not grow with U × num_samples. The same seed gives the same interval.

    >>> paired_bootstrap(np.array([0.5, 0.5, 0.5]))
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    num_users = len(difference)
    assert num_users > 0, "no users, no interval"
    assert np.isfinite(difference).all(), "a difference is not finite"
    random = np.random.default_rng(seed)
    rows = max(1, _BOOTSTRAP_CELLS // num_users)
    sizes = [min(rows, num_samples - start) for start in range(0, num_samples, rows)]
    means = [difference[random.integers(0, num_users, size=(size, num_users))].mean(axis=1) for size in sizes]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean=float(difference.mean()), low=float(low), high=float(high))
