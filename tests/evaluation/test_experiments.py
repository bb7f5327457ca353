"""Experiments: who is in which arm, and what may be said of the arms at any time."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from recsys.data.assignment import arm_in, assign_arms, variant_of
from recsys.evaluation.comparison import Comparison, ExperimentTotals
from recsys.evaluation.confidence_sequence import MIN_USERS, GroupDays, difference, relative_lift
from recsys.evaluation.sample_ratio import sample_ratio

USERS = pa.array([f"u{number:05}" for number in range(20_000)])
EVEN = {"control": 0.5, "new": 0.5}
NIGHTS = 21


def simulate(
    random: np.random.Generator,
    arms: npt.NDArray[np.int64],
    lift: float = 0.0,
    num_nights: int = NIGHTS,
    active: float = 1.0,
) -> Comparison:
    """An experiment of users who differ, half of whom come later, and who stay as they are from night to night.

    A user is active in some nights, takes an item of the list in a few of these (`active` times a tenth, on average),
    and pays a price that is far from a normal distribution.
    """
    users = np.arange(len(arms)).astype(np.uint64)
    taste = active * random.beta(1, 9, len(arms)) * np.where(arms == 1, 1 + lift, 1)
    comes = np.where(random.random(len(arms)) < 0.5, 0, random.integers(0, num_nights, len(arms)))
    totals = ExperimentTotals(EVEN, ["hitrate@10", "revenue"])
    for night in range(num_nights):
        there = (comes <= night) & (arms >= 0)
        hits = (random.random(len(arms)) < taste).astype(float)
        values = np.stack([hits, hits * random.lognormal(3, 1, len(arms))], axis=1)
        totals.add_night(users[there], arms[there], values[there])
    return totals.compare()


def test_of_1000_experiments_without_an_effect_at_most_5_percent_show_one_on_any_day() -> None:
    random = np.random.default_rng(24)
    users = USERS[:400]
    wrong = np.zeros(2)
    seen_once = unequal = 0
    for number in range(1000):
        arms = assign_arms(users, f"a/a {number}", [0.5, 0.5])
        compared = simulate(random, arms)
        wrong += [result.is_different for result in compared.results]
        unequal += compared.ratio.mismatch
        result = compared.results[0]
        seen_once += bool((np.abs(result.difference.estimate) > 1.96 * result.difference.error).any())
    assert (wrong / 1000 <= 0.05).all(), f"{wrong} of 1000 are wrong"
    assert unequal <= 10
    assert seen_once > 150, "a usual interval is wrong far more often when it is looked at every day"


def test_an_effect_is_found_and_lies_in_its_interval() -> None:
    random = np.random.default_rng(1)
    found = covered = 0
    for number in range(20):
        compared = simulate(random, assign_arms(USERS[:4000], f"new {number}", [0.5, 0.5]), lift=0.4)
        result = compared.results[0]
        found += result.is_different
        covered += bool(((result.lift.low <= 0.4) & (result.lift.high >= 0.4)).all())
    assert (found, covered) == (20, 20)


def test_the_interval_is_that_of_the_paper() -> None:
    """At the first look after 1,000 users of variance 1 in each arm; the formula is written out again here."""
    group = GroupDays(users=np.array([1000.0]), mean=np.array([1.0]), variance=np.array([1.0]))
    scale = (2 * np.log(20) + np.log(2 * np.log(20) + 1)) / 5
    expected = np.sqrt(2 / 1000) * np.sqrt(2 * (scale + 1) / scale * np.log(np.sqrt(scale + 1) / 0.05))
    assert difference(group, group).high[0] == pytest.approx(expected)


def test_few_users_and_a_control_of_zero_have_no_interval() -> None:
    few = GroupDays(users=np.array([MIN_USERS - 1.0]), mean=np.array([0.5]), variance=np.array([1.0]))
    assert np.isnan(difference(few, few).low).all()
    many = GroupDays(users=np.array([1000.0]), mean=np.array([0.5]), variance=np.array([1.0]))
    nothing = GroupDays(users=np.array([1000.0]), mean=np.array([0.0]), variance=np.array([0.0]))
    assert np.isnan(relative_lift(many, nothing).low).all()
    assert np.isfinite(difference(many, nothing).low).all()
    assert np.isnan(difference(nothing, nothing).low).all()


def test_a_split_is_by_the_shares_and_stays_the_same() -> None:
    arms = assign_arms(USERS, "one", [0.5, 0.2])
    assert np.bincount(arms + 1) / len(USERS) == pytest.approx([0.3, 0.5, 0.2], abs=0.01)
    order = np.random.default_rng(0).permutation(len(USERS))
    assert (assign_arms(USERS.take(pa.array(order)), "one", [0.5, 0.2]) == arms[order]).all()
    assert (assign_arms(USERS, "all", [0.1] * 10) >= 0).all()


def test_a_growing_last_arm_keeps_its_users_and_the_others() -> None:
    before, after = (assign_arms(USERS, "one", [0.5, share]) for share in (0.1, 0.3))
    assert (after[before >= 0] == before[before >= 0]).all()


def test_splits_by_different_salts_are_independent() -> None:
    first, second = (assign_arms(USERS, salt, [0.5, 0.5]) for salt in ("one", "two"))
    assert np.bincount(2 * first + second) / len(USERS) == pytest.approx([0.25] * 4, abs=0.01)


def test_a_variant_is_read_again() -> None:
    variant = variant_of([("order", "new"), ("colours", "red")])
    assert (arm_in(variant, "order"), arm_in(variant, "colours")) == ("new", "red")
    assert arm_in(variant, "col") is None
    assert arm_in("default", "order") is arm_in("", "order") is None


def test_wrong_sizes_are_found_and_right_ones_are_not() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.2])
    flagged = {"right": 0, "wrong": 0}
    for name, actual in (("right", shares), ("wrong", np.array([0.47, 0.32, 0.21]))):
        for _ in range(200):
            days = np.cumsum(random.multinomial(1000, actual, size=14), axis=0)
            flagged[name] += sample_ratio(days, shares).mismatch
    assert flagged["right"] <= 2
    assert flagged["wrong"] >= 190


def test_who_was_in_two_arms_is_left_out() -> None:
    totals = ExperimentTotals(EVEN, ["hitrate@10"])
    users, values = np.array([1, 2, 3], dtype=np.uint64), np.array([[1.0], [0.0], [1.0]])
    totals.add_night(users, np.array([0, 0, 1]), values)
    totals.add_night(users, np.array([0, 1, 1]), values)
    totals.add_night(users[:2], np.array([0, 0]), values[:2])
    compared = totals.compare()
    assert (compared.switched, compared.ratio.users) == (1, [1, 1])
    assert compared.results[0].control_mean.tolist() == [0.5, 1.0, 1.0]


def test_an_arm_without_users_has_no_interval_and_no_warning() -> None:
    totals = ExperimentTotals(EVEN, ["hitrate@10"])
    totals.add_night(np.array([1, 2], dtype=np.uint64), np.array([0, 0]), np.array([[1.0], [0.0]]))
    compared = totals.compare()
    assert compared.ratio.users == [2, 0]
    assert compared.results[0].control_mean.tolist() == [0.5]
    assert np.isnan(compared.results[0].mean).all()
    assert np.isnan(compared.results[0].difference.low).all()
    assert np.isnan(compared.results[0].lift.estimate).all()
    assert not compared.results[0].is_different


def test_a_small_arm_of_which_hardly_anybody_takes_something_shows_no_effect() -> None:
    """A tenth of the users is in the new arm, and one in a hundred takes something on a day: on the first days of many
    experiments nobody in the new arm does."""
    random = np.random.default_rng(4)
    wrong = np.zeros(2)
    for number in range(150):
        arms = assign_arms(USERS[:2000], f"small {number}", [0.9, 0.1])
        compared = simulate(random, arms, active=0.1)
        wrong += [result.is_different for result in compared.results]
    assert (wrong / 150 <= 0.05).all(), f"{wrong} of 150 are wrong"


def test_an_arm_in_which_nothing_works_is_different_from_its_control() -> None:
    works = GroupDays(users=np.array([5000.0]), mean=np.array([0.02]), variance=np.array([0.02 * 0.98]))
    broken = GroupDays(users=np.array([5000.0]), mean=np.array([0.0]), variance=np.array([0.0]))
    assert difference(broken, works).high[0] < 0
    few = GroupDays(users=np.array([1000.0]), mean=np.array([0.0]), variance=np.array([0.0]))
    assert np.isnan(difference(few, works).high).all(), "17 users are too few to carry the mean"
