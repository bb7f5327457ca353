"""Means with intervals of what users did with past lists."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from recsys.evaluation.realized import Mean, Places


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


def test_places_of_users_who_take_all_or_none_say_as_much_as_the_users() -> None:
    shares = [Places.of(np.full(40, number), number * (np.arange(40) % 4 == 0), 0.0).taken_share() for number in (1, 9)]
    assert shares[1] == pytest.approx(shares[0], abs=0.005)
    assert shares[0] == pytest.approx(of_hits(10, 40).share_interval(), abs=0.005)


def test_the_interval_of_a_share_of_places_holds_it_about_as_often_as_it_says() -> None:
    """Users differ in how much they see and in how much they take; as if places were independent, it is 57 %."""
    draw, held, tries = np.random.default_rng(0), 0, 400
    for _ in range(tries):
        shown = draw.integers(1, 20, 150)
        taken = draw.binomial(shown, draw.beta(0.1, 0.9, 150))
        _, low, high = Places.of(shown, taken, 0.0).taken_share()
        assert low is not None
        assert high is not None
        held += low <= 0.1 <= high
    assert held / tries > 0.92


def test_places_of_shards_are_added() -> None:
    shown, taken = np.array([3, 1, 5, 2]), np.array([1, 0, 4, 2])
    parts = [Places.of(shown[part], taken[part], 1.0) for part in (slice(0, 1), slice(1, 4))]
    assert parts[0] + parts[1] == Places.of(shown, taken, 2.0)
    assert parts[0].taken_share() == (0.333333, None, None)
    assert Places.of(shown, np.zeros(4), 0.0).taken_share()[0] == 0
