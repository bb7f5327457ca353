"""Offline evaluation: train before the holdout, rank the full catalog for its users, print the metrics.

python jobs/evaluate.py --config configs/movielens.yaml --protocol leave-one-out
python jobs/evaluate.py --config configs/demo.yaml --run 2026-11-22-0123456789ab
"""

import sys
from argparse import Namespace
from dataclasses import asdict

from jobs import command
from jobs.evaluation_tables import print_figures
from jobs.nightly import TRAINING
from recsys.errors import ConfigError, InputError
from recsys.evaluation.metrics import Floats, paired_bootstrap
from recsys.pipeline.holdout import POPULARITY, SLICE_METRIC
from recsys.pipeline.open_run import open_run, stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.run_gate import Measured, measure_holdout
from recsys.pipeline.run_stages import run_stages
from recsys.pipeline.stages import FINETUNE
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.lease import lock
from recsys.storage.runs import RunFolder

METRICS = tuple(f"{metric}@{k}" for metric in ("ndcg", "recall", "hitrate", "mrr") for k in (10, 20))
#: Decimals of the figures.
DIGITS = 4


def evaluate(config: Config, options: Namespace) -> command.Answer:
    """Measure a ranker and popularity on the same held-out users, in all and by slices."""
    if options.max_users < 1:
        raise ConfigError(f"--max-users: must be ≥ 1, got {options.max_users}")
    run = _finished_night(config, options) if options.run else open_run(config, options.protocol)
    with lock(run.folder), command.on_ray(run.config):
        if not options.run:
            run.folder.write_config(config.to_yaml())
            run_stages(run, TRAINING)
        measured = measure_holdout(run, [run.model_id], METRICS, options.max_users, in_depth=True)
    if not measured.num_users:
        raise InputError(
            f"evaluate: no user has events both in training and held out (protocol {run.protocol}); give more "
            f"events, change gate.holdout_days={run.config.gate.holdout_days}, or raise "
            f"--max-users {options.max_users}"
        )
    figures = _figures(run, measured)
    run.storage.write_json(f"{run.folder.dir}/evaluation-{run.protocol}.json", figures)
    print_figures(figures)
    return {"status": "evaluated", "run_id": run.folder.run_id, "path": run.storage.url(run.folder.dir), **figures}


def _finished_night(config: Config, options: Namespace) -> Run:
    if options.protocol != "time":
        raise ConfigError(f"--protocol {options.protocol}: a run's model has seen the last events; leave out --run")
    folder = RunFolder(Storage(config.storage), options.run)
    run = stored_run(folder) if folder.storage.exists(folder.config_path) else None
    if run is None or run.done(FINETUNE) is None:
        raise ConfigError(f"--run {options.run}: no trained model in {folder.storage.url(folder.dir)}")
    return run


def _figures(run: Run, measured: Measured) -> command.Answer:
    """Means of both rankers, and the paired 95 % intervals of their differences, in all and in each slice."""
    rankers = {"ranker": run.model_id, POPULARITY: POPULARITY}
    return {
        "protocol": run.protocol,
        "users": measured.num_users,
        **{
            name: {metric: _mean(values) for metric, values in measured.values[ranker].items()}
            | {metric: round(value, DIGITS) for metric, value in measured.catalog[ranker].items()}
            for name, ranker in rankers.items()
        },
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


def _mean(values: Floats) -> float | None:
    return round(float(values.mean()), DIGITS) if len(values) else None


def _difference(run: Run, ours: Floats, theirs: Floats) -> dict[str, float] | None:
    """Mean, low and high of the difference, user by user; None without users."""
    if not len(ours):
        return None
    interval = paired_bootstrap(ours - theirs, seed=run.config.seed)
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
