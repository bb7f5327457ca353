"""Offline evaluation: train before the holdout, rank the full catalog for its users, print the metrics.

python jobs/evaluate.py --config configs/movielens.yaml --protocol leave-one-out
python jobs/evaluate.py --config configs/demo.yaml --run 2026-11-22-0123456789ab
"""

import sys
from argparse import Namespace

from rich.table import Table

from jobs import command
from jobs.finetune import learn
from recsys.config import Config, load_config
from recsys.distributed.cluster import cluster
from recsys.distributed.evaluate import POPULARITY, Measured, measure_holdout
from recsys.distributed.night import Night, open_night
from recsys.errors import ConfigError
from recsys.storage.filesystem import Storage
from recsys.storage.lease import lock
from recsys.storage.runs import Run

METRICS = tuple(f"{metric}@{k}" for metric in ("ndcg", "recall", "hitrate", "mrr") for k in (10, 20))


def evaluate(config: Config, options: Namespace) -> command.Answer:
    """Measure a ranker and popularity on the same held-out users."""
    night = _finished_night(config, options) if options.run else open_night(config, options.protocol)
    with lock(night.run), cluster(min_cpus=night.min_cpus):
        if not options.run:
            night.run.write_config(config.to_yaml())
            learn(night)
        measured = measure_holdout(night, [night.model_id], METRICS, options.max_users)
    figures = _figures(night, measured)
    night.storage.write_json(f"{night.run.dir}/evaluation-{night.protocol}.json", figures)
    _print(night, figures)
    return {"status": "evaluated", "run_id": night.run.run_id, "path": night.storage.url(night.run.dir), **figures}


def _finished_night(config: Config, options: Namespace) -> Night:
    if options.protocol != "time":
        raise ConfigError(f"--protocol {options.protocol}: a run's model has seen the last events; leave out --run")
    run = Run(Storage(config.storage), options.run)
    night = Night(config=config, date=run.date, run=run)
    if run.done("finetune") is None:
        raise ConfigError(f"--run {options.run}: no trained model in {night.storage.url(run.dir)}")
    with night.storage.local_file(run.config_path) as path:
        own = load_config(path)
    return Night(config=own, date=run.date, run=run)


def _figures(night: Night, measured: Measured) -> command.Answer:
    rankers = {"ranker": night.model_id, POPULARITY: POPULARITY}
    return {
        "protocol": night.protocol,
        "users": measured.num_users,
        **{
            name: {
                **{metric: round(float(values.mean()), 4) for metric, values in measured.values[ranker].items()},
                "coverage@20": round(measured.coverage[ranker], 4),
            }
            for name, ranker in rankers.items()
        },
    }


def _print(night: Night, figures: command.Answer) -> None:
    table = Table(title=f"{night.protocol} holdout, {figures['users']:,} users, full ranking")
    for column in ("metric", "ranker", POPULARITY):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric, value in figures["ranker"].items():
        table.add_row(metric, f"{value:.4f}", f"{figures[POPULARITY][metric]:.4f}")
    command.console.print(table)


def main() -> int:
    """The command line."""
    parser = command.parser("Measure the ranker and popularity on held-out events.", night=False)
    parser.add_argument("--protocol", choices=("time", "leave-one-out"), default="time", help="what is held out")
    parser.add_argument("--run", help="score the model of this run instead of training one")
    parser.add_argument("--max-users", type=int, default=100_000, help="users measured at most, chosen by hash")
    return command.run(evaluate, parser)


if __name__ == "__main__":
    sys.exit(main())
