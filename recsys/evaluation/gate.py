"""The gate: decides by the values of held-out users whether a new model may be published."""

from dataclasses import asdict, dataclass
from typing import Any

from recsys.evaluation.bootstrap import Interval, paired_bootstrap
from recsys.evaluation.metrics.metric import Floats

_OWNER = {"popularity": "popularity's", "published": "the published model's"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """The mean of a model that the new one is compared with, and their paired difference with its 95 % interval."""

    mean: float
    difference: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision of the gate; `reason` is a sentence for people."""

    passed: bool
    examined: bool
    """Whether there were enough users to compare the model on; if not, it passes."""
    metric: str
    num_users: int
    model: float
    baselines: dict[str, Rival]
    reason: str
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "warnings": list(self.warnings)}


def judge(
    metric: str,
    model: Floats,
    popularity: Floats,
    published: Floats | None,
    min_users: int,
    seed: int,
    tolerance: float = 0.0,
) -> Verdict:
    """Compare a new model with popularity and with the published model.

    A model that is significantly worse than one of them is refused: the whole paired 95 % interval of the difference is
    below zero. So the noise of a few hundred users does not stop a night. For the published model, the whole interval
    must be below minus the tolerance (a non-inferiority test): the models of two nights are so similar that even a tiny
    difference can be significant, and a model of newer data is worth more than that. With fewer than `min_users` users
    the model passes with a warning.

    Args:
        metric: Name in the sentences, `ndcg@10`.
        model: The metric of each held-out user [U].
        popularity: The same users' metric under the popularity baseline [U].
        published: The same users' metric under the published model [U]; None: nothing is published.
        min_users: With fewer users, no model is refused.
        seed: Seed of the bootstrap.
        tolerance: Non-inferiority margin, as a share of the published model's mean.
    """
    rivals = {"popularity": popularity} | ({} if published is None else {"published": published})
    for name, values in rivals.items():
        assert values.shape == model.shape, f"{name} has {values.shape} users, the model {model.shape}"
    num_users = len(model)
    mean = float(model.mean()) if num_users else 0.0
    baselines = {
        name: Rival(mean=float(values.mean()), difference=paired_bootstrap(model - values, seed=seed))
        for name, values in rivals.items()
        if num_users
    }
    passed, reason, warnings = _decide(metric, mean, num_users, baselines, min_users, {"published": tolerance})
    return Verdict(
        passed=passed,
        examined=num_users >= max(min_users, 1),
        metric=metric,
        num_users=num_users,
        model=mean,
        baselines=baselines,
        reason=reason,
        warnings=warnings,
    )


def _decide(
    metric: str,
    mean: float,
    num_users: int,
    baselines: dict[str, Rival],
    min_users: int,
    tolerances: dict[str, float],
) -> tuple[bool, str, tuple[str, ...]]:
    if num_users < min_users or not num_users:
        reason = f"{num_users} held-out users are fewer than {max(min_users, 1)}, so no model is refused"
        return True, reason, (f"the gate let the model pass without a comparison: {reason}",)
    users = f"on {num_users} held-out users"
    for name, rival in baselines.items():
        if rival.difference.high < -tolerances.get(name, 0.0) * rival.mean:
            own, other = _distinct(mean, rival.mean)
            lead = f"95 % interval of the difference {_interval(rival.difference)}"
            return False, f"{metric} {own} is significantly below {_OWNER[name]} {other} {users} ({lead})", ()
    others = [f"{_OWNER[name]} {_distinct(mean, rival.mean)[1]}" for name, rival in baselines.items()]
    own, _ = _distinct(mean, baselines["popularity"].mean)
    reason = f"{metric} {own} against {' and '.join(others)} {users}"
    interval = baselines["popularity"].difference
    if interval.low > 0:
        return True, reason, ()
    return True, reason, (f"{metric}: the model may be no better than popularity: {_interval(interval)}",)


def _distinct(own: float, other: float) -> tuple[str, str]:
    """Both numbers with so many digits that they differ, but at least three."""
    digits = next((count for count in range(3, 12) if f"{own:.{count}f}" != f"{other:.{count}f}"), 3)
    return f"{own:.{digits}f}", f"{other:.{digits}f}"


def _interval(interval: Interval) -> str:
    return f"[{interval.low:+.4f}, {interval.high:+.4f}]"
