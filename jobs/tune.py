"""Tries other settings of the training, chooses by validation, and writes the best config. Nothing is published.

python jobs/tune.py --config configs/demo.yaml

The section `tune` of the config says what is tried. A tuning that was stopped goes on when it is started again.
"""

import hashlib
import io
import json
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from ruamel.yaml import YAML

from jobs import command
from jobs.log_output import console
from jobs.nightly import TRAINING
from recsys.config.loading import override_key
from recsys.errors import ConfigError, InputError, LockedError
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.pipeline.run_stages import run_stages
from recsys.pipeline.stages import FINETUNE
from recsys.pipeline.start_run import started_run
from recsys.settings import Config
from recsys.storage.lease import lock
from recsys.storage.runs import RunFolder
from recsys.training.tuning import draw_trials, with_overrides

#: Stages that all trials share, and those that each trial runs.
SHARED = TRAINING[: TRAINING.index(FINETUNE)]
OF_TRIAL = TRAINING[TRAINING.index(FINETUNE) :]


def tune(config: Config, options: Namespace) -> command.Answer:
    """Run the trials, or answer with the results of a finished tuning."""
    if config.encoder.train == "baskets":
        raise ConfigError("encoder.train=baskets: it is trained before the trials; tune with encoder.train=frozen")
    base = _base_run(config)
    place = f"tune/{base.folder.run_id}"
    if not base.storage.exists(f"{place}/results.json"):
        _run(base, place)
    results: list[dict[str, Any]] = base.storage.read_json(f"{place}/results.json")
    if base.storage.list(base.folder.dir, recursive=True):  # the start that wrote the results was stopped then
        _delete_rest(base, len(results))
    measured = [result for result in results if not result["error"]]
    if not measured:
        raise InputError(f"tune: no trial has figures; the first one says: {results[0]['error']}")
    best = max(measured, key=lambda result: (result["ndcg"], -result["number"]))
    base.storage.write_bytes(f"{place}/best.yaml", _best_config(options, best["overrides"]))
    _print(results, best)
    return {
        "status": "tuned",
        "run_id": base.folder.run_id,
        "path": base.storage.url(place),
        "config": base.storage.url(f"{place}/best.yaml"),
        "best": best["overrides"],
        "validation_ndcg@10": best["ndcg"],
        "without_changes": next((result["ndcg"] for result in measured if not result["overrides"]), None),
    }


def _base_run(config: Config) -> Run:
    """The run that reads the inputs for all trials. Each trial begins at random weights, so that all begin equally."""
    train = config.train.model_copy(update={"warm_start": False, "budget": "full"})
    run = open_run(config.model_copy(update={"train": train}))
    asked = json.dumps(config.tune.model_dump(mode="json"), sort_keys=True)
    name = f"{run.folder.run_id}-tune-{hashlib.sha256(asked.encode()).hexdigest()[:6]}"
    return replace(run, folder=RunFolder(run.storage, name))


def _run(base: Run, place: str) -> None:
    """Run the shared stages, then the trials; write the results and delete the rest."""
    with started_run(base, TRAINING, own_lock=True) as (run, _), command.on_ray(run.config, TRAINING):
        from recsys.pipeline.training.run_trials import delete_trials, run_trials, trial_config  # Ray comes with it

        trials = draw_trials(run.config.tune.space, run.config.tune.trials, run.config.seed)
        for overrides in trials:
            trial_config(run.config, overrides)  # a value that does not fit is refused before anything is trained
        run_stages(run, SHARED)
        results = run_trials(run, OF_TRIAL, trials, run.config.tune.concurrent)
        run.storage.write_json(f"{place}/results.json", [asdict(result) for result in results])
        delete_trials(run, len(trials))


def _delete_rest(base: Run, num_trials: int) -> None:
    """Delete what the results are made of, unless another start is at it."""
    from recsys.pipeline.training.run_trials import delete_trials  # Ray comes with it

    with suppress(LockedError), lock(base.folder, base.folder.run_id):
        delete_trials(base, num_trials)


def _best_config(options: Namespace, overrides: dict[str, Any]) -> bytes:
    """The user's config with the values of `--set` and the best ones, and with its comments."""
    yaml = YAML()
    yaml.width = 4096  # long lines stay as they are
    raw = yaml.load(Path(options.config).read_text(encoding="utf-8"))
    for override in options.set:
        override_key(raw, override)
    for section, values in with_overrides({}, overrides).items():
        raw.setdefault(section, {}).update(values)
    stream = io.BytesIO()
    yaml.dump(raw, stream)
    return stream.getvalue()


def _print(results: Sequence[dict[str, Any]], best: dict[str, Any]) -> None:
    """A table of all trials, best first."""
    keys = sorted({key for result in results for key in result["overrides"]})
    table = Table("trial", *keys, "NDCG@10", "ranker alone", "epochs", "seconds", title="validation users, best first")
    for result in sorted(results, key=lambda result: -result["ndcg"]):
        values = [escape(str(result["overrides"].get(key, "as it is"))) for key in keys]
        figures = [f"{result['ndcg']:.4f}", f"{result['ranker_ndcg']:.4f}"]
        last = [escape(result["error"])] if result["error"] else [str(result["epochs"]), f"{result['seconds']:,.0f}"]
        name = f"{result['number']} (best)" if result is best else str(result["number"])
        table.add_row(name, *values, *figures, *last)
    console.print(table)


def main() -> int:
    """The command line."""
    return command.run(tune, command.parser("Try other settings of the training and write the best config."))


if __name__ == "__main__":
    command.end_process(main)
