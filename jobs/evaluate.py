"""Offline evaluation: train before the holdout, rank the full catalog for its users, print the metrics.

python jobs/evaluate.py --config configs/movielens.yaml --protocol leave-one-out
python jobs/evaluate.py --config configs/demo.yaml --run 2026-11-22-0123456789ab
"""

import sys
from argparse import Namespace
from dataclasses import asdict

from jobs import command
from jobs.evaluation_tables import print_figures
from jobs.finetune import learn
from recsys.config import Config
from recsys.distributed.cluster import cluster
from recsys.distributed.evaluate import Measured, measure_holdout
from recsys.distributed.holdout import POPULARITY, SLICE_METRIC
from recsys.distributed.night import Night, night_of, open_night
from recsys.errors import ConfigError, InputError
from recsys.evaluation.metrics import Floats, paired_bootstrap
from recsys.storage.filesystem import Storage
from recsys.storage.lease import lock
from recsys.storage.runs import Run

METRICS = tuple(f"{metric}@{k}" for metric in ("ndcg", "recall", "hitrate", "mrr") for k in (10, 20))
#: Decimals of the figures.
DIGITS = 4


def evaluate(config: Config, options: Namespace) -> command.Answer:
    """Measure a ranker and popularity on the same held-out users, in all and by slices."""
    if options.max_users < 1:
        raise ConfigError(f"--max-users: must be ≥ 1, got {options.max_users}")
    night = _finished_night(config, options) if options.run else open_night(config, options.protocol)
    with lock(night.run), cluster(min_cpus=night.min_cpus):
        if not options.run:
            night.run.write_config(config.to_yaml())
            learn(night)
        measured = measure_holdout(night, [night.model_id], METRICS, options.max_users, in_depth=True)
    if not measured.num_users:
        raise InputError(
            f"evaluate: no user has events both in training and held out (protocol {night.protocol}); give more "
            f"events, change gate.holdout_days={night.config.gate.holdout_days}, or raise "
            f"--max-users {options.max_users}"
        )
    figures = _figures(night, measured)
    night.storage.write_json(f"{night.run.dir}/evaluation-{night.protocol}.json", figures)
    print_figures(figures)
    return {"status": "evaluated", "run_id": night.run.run_id, "path": night.storage.url(night.run.dir), **figures}


def _finished_night(config: Config, options: Namespace) -> Night:
    if options.protocol != "time":
        raise ConfigError(f"--protocol {options.protocol}: a run's model has seen the last events; leave out --run")
    run = Run(Storage(config.storage), options.run)
    if run.done("finetune") is None:
        raise ConfigError(f"--run {options.run}: no trained model in {run.storage.url(run.dir)}")
    return night_of(run)


def _figures(night: Night, measured: Measured) -> command.Answer:
    """Means of both rankers, and the paired 95 % intervals of their differences, in all and in each slice."""
    rankers = {"ranker": night.model_id, POPULARITY: POPULARITY}
    return {
        "protocol": night.protocol,
        "users": measured.num_users,
        **{
            name: {metric: _mean(values) for metric, values in measured.values[ranker].items()}
            | {metric: round(value, DIGITS) for metric, value in measured.catalog[ranker].items()}
            for name, ranker in rankers.items()
        },
        "difference": {
            metric: _difference(night, values, measured.values[POPULARITY][metric])
            for metric, values in measured.values[night.model_id].items()
        },
        "slice_metric": SLICE_METRIC,
        "slices": {
            part: {
                "users": len(values[POPULARITY]),
                **{name: _mean(values[ranker]) for name, ranker in rankers.items()},
                "difference": _difference(night, values[night.model_id], values[POPULARITY]),
            }
            for part, values in measured.slices.items()
        },
        "tail_frontier": [
            {"tail": tail} | {name: round(value, DIGITS) for name, value in means.items()}
            for tail, means in measured.frontier.items()
        ],
    }


def _mean(values: Floats) -> float | None:
    return round(float(values.mean()), DIGITS) if len(values) else None


def _difference(night: Night, ours: Floats, theirs: Floats) -> dict[str, float] | None:
    """Mean, low and high of the difference, user by user; None without users."""
    if not len(ours):
        return None
    interval = paired_bootstrap(ours - theirs, seed=night.config.seed)
    return {name: round(value, DIGITS) for name, value in asdict(interval).items()}


def main() -> int:
    """The command line."""
    parser = command.parser("Measure the ranker and popularity on held-out events.", night=False)
    parser.add_argument("--protocol", choices=("time", "leave-one-out"), default="time", help="what is held out")
    parser.add_argument("--run", help="score the model of this run instead of training one")
    parser.add_argument("--max-users", type=int, default=100_000, help="users measured at most, chosen by hash")
    return command.run(evaluate, parser)


if __name__ == "__main__":
    sys.exit(main())
