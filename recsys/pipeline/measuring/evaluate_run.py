"""The figures of an evaluation: the ranker and popularity on the same held-out users, in all and by slices."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from recsys.evaluation.bootstrap import paired_bootstrap
from recsys.evaluation.metrics.metric import Floats
from recsys.pipeline.measuring.measure_holdout import MeasuredHoldout, measure_holdout
from recsys.pipeline.measuring.measure_shard import POPULARITY, SLICE_METRIC
from recsys.pipeline.run import Run

#: Decimals of the figures.
DIGITS = 4


def evaluate_run(run: Run, metrics: Sequence[str], max_users: int) -> dict[str, Any]:
    """Measure the run's own model and popularity in depth.

    Args:
        run: With a trained model; its protocol says what is held out.
        metrics: Names such as `ndcg@10`.
        max_users: About how many users are measured at most.

    Returns:
        For JSON: `protocol`; `users` (their number); means of each metric for `ranker` and `popularity`; `difference`
        (mean, low and high of the paired 95 % interval); the same by `slices` for `slice_metric`; and `tail_frontier`,
        means by value of the long-tail boost.
    """
    measured = measure_holdout(run, [run.model_id], metrics, max_users, depth="lists")
    rankers = {"ranker": run.model_id, POPULARITY: POPULARITY}
    return {
        "protocol": run.protocol,
        "users": measured.num_users,
        **{name: _means(measured, ranker) for name, ranker in rankers.items()},
        "difference": {
            metric: _difference(run, values, measured.values[POPULARITY][metric])
            for metric, values in measured.values[run.model_id].items()
        },
        "slice_metric": SLICE_METRIC,
        "slices": {
            part: {
                "users": len(values[POPULARITY]),
                **{name: _mean(values[ranker]) for name, ranker in rankers.items()},
                "difference": _difference(run, values[run.model_id], values[POPULARITY]),
            }
            for part, values in measured.slices.items()
        },
        "tail_frontier": [
            {"tail": tail} | {name: round(value, DIGITS) for name, value in means.items()}
            for tail, means in measured.frontier.items()
        ],
    }


def _means(measured: MeasuredHoldout, ranker: str) -> dict[str, float | None]:
    means = {metric: _mean(values) for metric, values in measured.values[ranker].items()}
    return means | {metric: round(value, DIGITS) for metric, value in measured.catalog[ranker].items()}


def _mean(values: Floats) -> float | None:
    return round(float(values.mean()), DIGITS) if len(values) else None


def _difference(run: Run, ours: Floats, theirs: Floats) -> dict[str, float] | None:
    """Mean, low and high of the difference by user; None without users."""
    if not len(ours):
        return None
    interval = paired_bootstrap(ours - theirs, seed=run.config.seed)
    return {name: round(value, DIGITS) for name, value in asdict(interval).items()}
