"""Intervals of a difference between two groups that stay valid when they are looked at every day.

A usual 95 % interval is wrong one time in twenty at one look. Who looks each day and stops at the first difference is
wrong far more often. A confidence sequence holds at all looks at once.

The intervals are the asymptotic confidence sequences of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
central limit theory and asymptotic confidence sequences" (Annals of Statistics 52(6), 2024; arXiv:2103.06476), the one
with a Gaussian mixture. Time is the information of the estimate, 1 / variance. Where the variance is known, this is the
normal mixture of Robbins (1970), and the mixture SPRT of Johari, Koomen, Pekelis and Walsh (Operations Research 70(3),
2022).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: How often one of all the intervals of a difference may miss the truth.
ALPHA = 0.05
#: Groups below this size have no interval: the variance of so few users says little.
MIN_USERS = 100
#: As many users must carry the mean of the smaller group, see `_enough`: where one user in a hundred takes something,
#: a group of 200 may have nobody who does, and its variance of 0 would be believed.
MIN_CARRIERS = 30.0
#: The interval is tightest when the estimate has this many times the information of the first look.
TIGHTEST_AT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDays:
    """A value of the users of one group, after each of D days. No user's value is below 0."""

    users: Floats
    """[D] users so far."""
    mean: Floats
    """[D] mean over these users; NaN without users."""
    variance: Floats
    """[D] variance between these users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """An estimate after each of D days, with bounds that hold for all days at once; NaN where there is none."""

    estimate: Floats
    error: Floats
    """Standard error of one day's estimate; for a lift that of its logarithm."""
    low: Floats
    high: Floats


def difference(treated: GroupDays, control: GroupDays) -> Sequence:
    """Mean of the treated minus that of the control, after each day.

    The same user counts once, with the mean of the days so far, so days of one user need not be independent.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # a group may have no users yet
        variance = treated.variance / treated.users + control.variance / control.users
    return _sequence(treated.mean - control.mean, variance, _enough(treated, control))


def relative_lift(treated: GroupDays, control: GroupDays) -> Sequence:
    """Mean of the treated over that of the control, minus 1, after each day, where both are above 0.

    The bounds are those of the logarithm of the ratio, whose variance is by the delta method.
    """
    above = (treated.mean > 0) & (control.mean > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(above, treated.mean / control.mean, np.nan)
        variance = sum(group.variance / group.users / group.mean**2 for group in (treated, control))
        found = _sequence(np.log(ratio), np.asarray(variance), _enough(treated, control) & above)
    lift, low, high = (np.expm1(each) for each in (found.estimate, found.low, found.high))
    return Sequence(estimate=lift, error=found.error, low=low, high=high)


def _enough(treated: GroupDays, control: GroupDays) -> npt.NDArray[np.bool_]:
    """[D] whether both groups are so large that their means are about normally distributed.

    Of n users, n · mean² / (mean of the squares) carry the mean (the effective sample size of Kish): all of them where
    the values are equal, those who took something where the others have 0, and fewer where few pay much. It is asked
    for the smaller group, with the values of both together: so a group in which nothing works has an interval.
    """
    groups = (treated, control)
    total = treated.users + control.users
    with np.errstate(divide="ignore", invalid="ignore"):  # a group may have no users yet, or no values but 0
        mean = sum(group.users * group.mean for group in groups) / total
        squares = sum(group.users * (group.variance + group.mean**2) for group in groups) / total
        smaller = np.minimum(treated.users, control.users)
        found: npt.NDArray[np.bool_] = (smaller >= MIN_USERS) & (smaller * mean**2 / squares >= MIN_CARRIERS)
    return found


def _sequence(estimate: Floats, variance: Floats, known: npt.NDArray[np.bool_]) -> Sequence:
    """The bounds of each day. The first day with an interval sets the scale, which may not depend on later days."""
    usable = known & np.isfinite(variance) & (variance > 0)
    error = np.sqrt(np.where(usable, variance, np.nan))
    bounds = error.copy()
    if usable.any():
        bounds[usable] *= multiplier(variance[usable][0] / variance[usable])
    estimate = np.where(known, estimate, np.nan)
    return Sequence(estimate=estimate, error=error, low=estimate - bounds, high=estimate + bounds)


def multiplier(information: Floats) -> Floats:
    """By how many standard errors the bounds are from the estimate; 1.96 for one look with a usual interval.

    sqrt((x + 1) / x · (log(x + 1) − 2 log `ALPHA`)), where x is the information times the scale at which the interval
    is tightest for the information `TIGHTEST_AT`.

    Args:
        information: In units of that of the first look.

    >>> multiplier(np.array([1.0, 5.0, 100.0])).round(2).tolist()
    [3.36, 3.04, 3.34]
    """
    tightest = -2 * np.log(ALPHA) + np.log(-2 * np.log(ALPHA) + 1)
    x = information * tightest / TIGHTEST_AT
    width: Floats = np.sqrt((x + 1) / x * (np.log(x + 1) - 2 * np.log(ALPHA)))
    return width
