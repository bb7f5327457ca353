"""Means with intervals of what users did with past lists."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from recsys.evaluation.realized import Mean


def of_hits(hits: int, num: int) -> Mean:
    return Mean.of(np.repeat([1.0, 0.0], [hits, num - hits]))


@pytest.mark.parametrize(("hits", "num"), [(0, 48), (1, 48), (24, 48), (48, 48), (2, 19), (0, 2)])
def test_the_interval_of_a_share_is_that_of_wilson(hits: int, num: int) -> None:
    expected = binomtest(hits, num).proportion_ci(0.95, "wilson")
    share, low, high = of_hits(hits, num).share_interval()
    assert (share, low, high) == pytest.approx((hits / num, expected.low, expected.high), abs=2e-5)
    assert low is not None
    assert high is not None
    assert 0 <= low <= share <= high <= 1
    assert low < high


def test_the_interval_of_a_small_share_holds_it_about_as_often_as_it_says() -> None:
    """Of 48 places that are taken 2 % of the time; by the normal distribution it is 62 %."""
    share, num = 0.02, 48
    held = sum(
        binom.pmf(hits, num, share)
        for hits in range(num + 1)
        if (found := of_hits(hits, num).share_interval())[1] <= share <= found[2]
    )
    assert held > 0.92


def test_one_value_alone_has_no_bounds() -> None:
    assert of_hits(1, 1).share_interval() == (1.0, None, None)
