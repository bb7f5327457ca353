"""Offline evaluation: train before the holdout, rank the full catalog for its users, print the metrics.

Or, without training, what users did with the published lists of past nights.

python jobs/evaluate.py --config configs/movielens.yaml --protocol leave-one-out
python jobs/evaluate.py --config configs/demo.yaml --run 2026-11-22-0123456789ab
python jobs/evaluate.py --config configs/demo.yaml --realized
python jobs/evaluate.py --config configs/demo.yaml --compare diversity
"""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

from jobs import command
from jobs.evaluation_tables import print_figures
from jobs.nightly import TRAINING
from jobs.past_nights import compare, realized
from recsys.errors import ConfigError, InputError
from recsys.evaluation.metrics.registry import accuracy_metrics
from recsys.pipeline.open_run import open_run, stored_run
from recsys.pipeline.run import Protocol, Run
from recsys.pipeline.run_stages import run_stages
from recsys.pipeline.stages import FINETUNE
from recsys.pipeline.start_run import started_run
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.lease import lock
from recsys.storage.manifest import is_complete
from recsys.storage.runs import RunFolder

#: Places of the lists that each accuracy metric looks at.
CUTOFFS = (10, 20)
DEFAULT_MAX_USERS = 100_000


def evaluate(config: Config, options: Namespace) -> command.Answer:
    """Measure a ranker and popularity on the same held-out users, in all and by slices; or past nights, as asked."""
    _refuse_together(options)
    if options.realized:
        return realized(config)
    if options.compare is not None:
        return compare(config, options.compare)
    max_users = DEFAULT_MAX_USERS if options.max_users is None else options.max_users
    if max_users < 1:
        raise ConfigError(f"--max-users: must be ≥ 1, got {max_users}")
    with _measurable_run(config, options) as run:
        # after the checks, since PyTorch is slow to import
        from recsys.pipeline.measuring.evaluate_run import evaluate_run

        metrics = [f"{metric.name}@{k}" for metric in accuracy_metrics() for k in CUTOFFS]
        figures = evaluate_run(run, metrics, max_users)
    if not figures["users"]:
        raise InputError(
            f"evaluate: no user has events both in training and held out (protocol {run.protocol}); give more "
            f"events, change gate.holdout_days={run.config.gate.holdout_days}, or raise "
            f"--max-users {max_users}"
        )
    run.storage.write_json(f"{run.folder.dir}/evaluation-{run.protocol}.json", figures)
    print_figures(figures)
    return {"status": "evaluated", "run_id": run.folder.run_id, "path": run.storage.url(run.folder.dir), **figures}


def _refuse_together(options: Namespace) -> None:
    """Refuse what says how a model is measured, beside what measures past nights and would ignore it."""
    past = "--realized" if options.realized else "--compare" if options.compare is not None else ""
    given = {
        "--date": options.date,
        "--run": options.run,
        "--protocol": options.protocol,
        "--max-users": options.max_users,
    }
    ignored = [name for name, value in given.items() if value is not None]
    if past and ignored:
        raise ConfigError(
            f"{', '.join(ignored)}: not together with {past}, which measures all past nights and no model; leave one "
            f"of them out"
        )


@contextmanager
def _measurable_run(config: Config, options: Namespace) -> Iterator[Run]:
    """A run with a trained model, on Ray: that of `--run`, else the night's own or a backtest, which is trained."""
    if options.run is not None:
        run = _finished_run(config, options.run, options.protocol)
        # Nobody writes to a published run. Another one may be a night at work.
        own_lock = is_complete(run.folder) or run.protocol != "time"
        with lock(run.folder, run.folder.run_id if own_lock else None), command.on_ray(run.config):
            yield run
        return
    run = open_run(config, options.protocol or "time")
    with started_run(run, TRAINING, own_lock=run.protocol != "time") as (run, _), command.on_ray(config, TRAINING):
        run_stages(run, TRAINING)
        yield run


def _finished_run(config: Config, run_id: str, protocol: Protocol | None) -> Run:
    folder = RunFolder(Storage(config.storage), run_id)
    run = stored_run(folder) if folder.storage.exists(folder.config_path) else None
    if run is None or run.done(FINETUNE) is None:
        raise ConfigError(f"--run {run_id}: no trained model in {folder.storage.url(folder.dir)}")
    if protocol not in (None, run.protocol):
        raise ConfigError(
            f"--protocol {protocol}: run {run_id} was trained for --protocol {run.protocol}, and has seen what "
            f"{protocol} holds out; leave out --protocol or --run"
        )
    return run


def main() -> int:
    """The command line."""
    parser = command.parser("Measure the ranker and popularity on held-out events.")
    parser.add_argument(
        "--protocol", choices=get_args(Protocol), help="what is held out (default: time; that of --run)"
    )
    parser.add_argument("--run", help="measure the model of this run; default: train one")
    help_users = f"most users to measure (default {DEFAULT_MAX_USERS:,}); chosen by hash"
    parser.add_argument("--max-users", type=int, help=help_users)
    past = parser.add_mutually_exclusive_group()
    past.add_argument("--realized", action="store_true", help="join the lists of past nights with later events")
    past.add_argument("--compare", metavar="EXPERIMENT", help="compare the arms of an experiment by later events")
    return command.run(evaluate, parser)


if __name__ == "__main__":
    command.end_process(main)
