"""Compares the arms of an experiment, night by night. Shapes: N rows of one night, U users so far, D nights, G arms,
M metrics.

A user counts once: with the mean over the nights in which the user had a list. Users who did nothing count with 0,
since an arm may also change how many users do something.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.evaluation.confidence_sequence import GroupDays, difference, relative_lift
from recsys.evaluation.confidence_sequence import Sequence as Interval
from recsys.evaluation.sample_ratio import SampleRatio, sample_ratio

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A user who was in two arms: such users are in no comparison.
_SWITCHED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One metric of one arm beside the control, after each of D nights."""

    arm: str
    metric: str
    mean: Floats
    control_mean: Floats
    difference: Interval
    lift: Interval
    """(mean of the arm) / (mean of the control) − 1."""

    @property
    def is_different(self) -> bool:
        """Whether the interval of the difference ever left out 0: it may be looked at every night."""
        return bool(((self.difference.low > 0) | (self.difference.high < 0)).any())


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What an experiment showed so far."""

    arms: Sequence[str]
    """The first is the control."""
    results: Sequence[ArmResult]
    ratio: SampleRatio
    switched: int
    """Users who were in two arms, because shares or the salt changed. They are left out."""


class ExperimentTotals:
    """The sums of each user of one experiment, from the first night on."""

    def __init__(self, arms: Mapping[str, float], metrics: Sequence[str]) -> None:
        """`arms`: share of each arm by name, the control first. `metrics`: names of the M values of a user."""
        self._arms, self._metrics = dict(arms), list(metrics)
        self._users = np.zeros(0, dtype=np.uint64)
        self._arm = np.zeros(0, dtype=np.int64)
        self._nights = np.zeros(0, dtype=np.int64)
        self._sums = np.zeros((0, len(self._metrics)))
        self._looks: list[tuple[Ints, Floats, Floats]] = []

    def add_night(self, users: npt.NDArray[np.uint64], arms: Ints, values: Floats) -> None:
        """Add the next night.

        Args:
            users: [N] a number for each user with a list, distinct, the same in every night.
            arms: [N] places of the users' arms.
            values: [N, M].
        """
        known = np.union1d(self._users, users)
        before, now = np.searchsorted(known, self._users), np.searchsorted(known, users)
        arm, nights = np.full(len(known), _SWITCHED - 1), np.zeros(len(known), dtype=np.int64)
        sums = np.zeros((len(known), len(self._metrics)))
        arm[before], nights[before], sums[before] = self._arm, self._nights, self._sums
        arm[now] = np.where((arm[now] == arms) | (arm[now] < _SWITCHED), arms, _SWITCHED)
        nights[now] += 1
        sums[now] += values
        self._users, self._arm, self._nights, self._sums = known, arm, nights, sums
        self._looks.append(self._look())

    def _look(self) -> tuple[Ints, Floats, Floats]:
        """Users [G], means and variances [G, M] of the arms up to now; the mean is NaN without users."""
        in_arm = self._arm >= 0
        arm, size = self._arm[in_arm], len(self._arms)
        values = self._sums[in_arm] / self._nights[in_arm, None]
        users = np.bincount(arm, minlength=size)
        means, variances = np.zeros((2, size, len(self._metrics)))
        for metric, column in enumerate(values.T):
            means[:, metric] = np.where(users > 0, np.bincount(arm, column, size) / np.maximum(users, 1), np.nan)
            squares = np.bincount(arm, (column - means[arm, metric]) ** 2, size)
            variances[:, metric] = squares / np.maximum(users - 1, 1)
        return users, means, variances

    def compare(self) -> Comparison:
        """The arms beside the control after each night; at least one night was added."""
        users, means, variances = (np.stack(part) for part in zip(*self._looks, strict=True))
        results = []
        for metric, name in enumerate(self._metrics):
            groups = [
                GroupDays(
                    users=users[:, arm].astype(np.float64),
                    mean=means[:, arm, metric],
                    variance=variances[:, arm, metric],
                )
                for arm in range(len(self._arms))
            ]
            results += [
                ArmResult(
                    arm=arm,
                    metric=name,
                    mean=group.mean,
                    control_mean=groups[0].mean,
                    difference=difference(group, groups[0]),
                    lift=relative_lift(group, groups[0]),
                )
                for arm, group in zip(list(self._arms)[1:], groups[1:], strict=True)
            ]
        return Comparison(
            arms=list(self._arms),
            results=results,
            ratio=sample_ratio(users, np.array(list(self._arms.values()))),
            switched=int((self._arm == _SWITCHED).sum()),
        )
