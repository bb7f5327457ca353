"""The quality of a model with its interval, for all measured users and for slices of them. Shapes: U users."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT
from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.evaluation.metrics.metric import Floats

_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with the bounds of its 95 % interval over the users."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class BaselineQuality:
    """A baseline on the same users."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    value: Estimate
    difference: Estimate
    """The new model minus the baseline, paired by user."""


@dataclass(frozen=True, kw_only=True)
class MeasuredSegment:
    """A metric of a group of users, or of the targets among a group of items."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    segment: str
    metric: str
    users: int
    model: Estimate | None
    """The new model; None without users."""
    baselines: dict[str, BaselineQuality] = field(default_factory=dict)
    """`popularity`, and `published` where a model was published before."""


def measure_segment(
    segment: str, metric: str, model: Floats, baselines: Mapping[str, Floats], seed: int
) -> MeasuredSegment:
    """Means and intervals of the values of the same users [U] under a model and under baselines."""
    if not len(model):
        return MeasuredSegment(segment=segment, metric=metric, users=0, model=None)
    return MeasuredSegment(
        segment=segment,
        metric=metric,
        users=len(model),
        model=_estimate(model, seed),
        baselines={
            name: BaselineQuality(value=_estimate(values, seed), difference=_estimate(model - values, seed))
            for name, values in baselines.items()
        },
    )


def _estimate(values: Floats, seed: int) -> Estimate:
    interval = paired_bootstrap(values, seed=seed)
    mean, low, high = (round(bound, _DIGITS) for bound in (interval.mean, interval.low, interval.high))
    return Estimate(mean=mean, low=low, high=high)
