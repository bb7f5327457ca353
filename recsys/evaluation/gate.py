"""The exam of a new model on held-out users; it knows per-user numbers, neither lists nor how they were made."""

from dataclasses import asdict, dataclass
from typing import Any

from recsys.evaluation.bootstrap import Interval, paired_bootstrap
from recsys.evaluation.metrics.metric import Floats

_OWNER = {"popularity": "popularity's", "published": "the published model's"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A baseline's mean, and the new model's lead over it, user by user, with its 95 % interval."""

    mean: float
    difference: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's answer; `reason` is a sentence for people."""

    passed: bool
    metric: str
    num_users: int
    model: float
    baselines: dict[str, Comparison]
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
    """Compare a new model with popularity and with the published model (None: there is none to compare with).

    Refuses a model that is significantly below one of them: the paired 95 % interval of the difference lies wholly
    below zero, so that the noise of a few hundred users does not stop the nights. Below the published model it must lie
    by more than the tolerance (a test of non-inferiority): two nights' models are so alike that a hair can be sure, and
    newer days are worth more than a hair. With fewer than `min_users` users
    nothing can be told; the model passes with a warning.

    Args:
        metric: Name in the sentences, `ndcg@10`.
        model: The metric of each held-out user [U].
        popularity: The same users' metric under the popularity baseline [U].
        published: The same users' metric under the published model [U].
        min_users: Fewest users that can tell something.
        seed: Seed of the bootstrap.
        tolerance: Share of the published model's mean that the new one may surely be below it.
    """
    rivals = {"popularity": popularity} | ({} if published is None else {"published": published})
    for name, values in rivals.items():
        assert values.shape == model.shape, f"{name} has {values.shape} users, the model {model.shape}"
    num_users = len(model)
    mean = float(model.mean()) if num_users else 0.0
    baselines = {
        name: Comparison(mean=float(values.mean()), difference=paired_bootstrap(model - values, seed=seed))
        for name, values in rivals.items()
        if num_users
    }
    passed, reason, warnings = _decide(metric, mean, num_users, baselines, min_users, {"published": tolerance})
    return Verdict(
        passed=passed,
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
    baselines: dict[str, Comparison],
    min_users: int,
    tolerances: dict[str, float],
) -> tuple[bool, str, tuple[str, ...]]:
    if num_users < min_users or not num_users:
        reason = f"{num_users} held-out users are fewer than {max(min_users, 1)}: nothing can be told from them"
        return True, reason, (f"the gate let the model pass unexamined: {reason}",)
    users = f"on {num_users} held-out users"
    for name, rival in baselines.items():
        if rival.difference.high < -tolerances.get(name, 0.0) * rival.mean:
            own, other = _apart(mean, rival.mean)
            lead = f"95 % interval of the difference {_interval(rival.difference)}"
            return False, f"{metric} {own} is significantly below {_OWNER[name]} {other} {users} ({lead})", ()
    told = [f"{_OWNER[name]} {_apart(mean, rival.mean)[1]}" for name, rival in baselines.items()]
    own, _ = _apart(mean, baselines["popularity"].mean)
    reason = f"{metric} {own} against {' and '.join(told)} {users}"
    interval = baselines["popularity"].difference
    if interval.low > 0:
        return True, reason, ()
    return True, reason, (f"{metric}: the lead over popularity may be chance: {_interval(interval)}",)


def _apart(own: float, other: float) -> tuple[str, str]:
    """Both numbers with as many digits, three at least, as it takes to tell them apart."""
    digits = next((count for count in range(3, 12) if f"{own:.{count}f}" != f"{other:.{count}f}"), 3)
    return f"{own:.{digits}f}", f"{other:.{digits}f}"


def _interval(interval: Interval) -> str:
    return f"[{interval.low:+.4f}, {interval.high:+.4f}]"
