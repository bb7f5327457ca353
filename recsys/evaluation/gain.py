"""What a part adds to a metric, in percent of the metric without the part. Shapes: U users."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT
from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.evaluation.metrics.metric import Floats


@dataclass(frozen=True, kw_only=True)
class RelativeGain:
    """A relative difference with its 95 % interval."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    percent: float
    low: float
    high: float
    users: int
    """Users that were measured."""

    def __str__(self) -> str:
        return f"{self.percent:+.1f} % [{self.low:+.1f}, {self.high:+.1f}]"


def relative_gain(values: Floats, without: Floats, seed: int) -> RelativeGain | None:
    """How far a metric with a part is above the metric without it, of the same users [U].

    The mean without the part is itself known only as well as the users tell. So each user counts with the part in the
    ratio of the two means (delta method), and the interval is that of the mean of these numbers. None where the metric
    is 0 without the part: nothing is a percentage of it.

    >>> import numpy as np
    >>> str(relative_gain(np.array([0.3, 0.3]), np.array([0.2, 0.2]), seed=0))
    '+50.0 % [+50.0, +50.0]'
    """
    whole = float(without.mean())
    if whole <= 0:
        return None
    ratio = float(values.mean()) / whole
    interval = paired_bootstrap((values - ratio * without) / whole + ratio - 1, seed=seed)
    percent, low, high = (round(100 * value, 2) for value in (interval.mean, interval.low, interval.high))
    return RelativeGain(percent=percent, low=low, high=high, users=len(values))
