"""Trials of a tuning: each trains and fits the model of a night with other settings, and is measured on validation.

All trials share one base run, which has read and encoded the inputs. Ray Tune runs them, keeps their results, and
goes on where it was stopped. The held-out days are never looked at: the gate of the next night measures the best.
"""

import io
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune

from recsys.config.loading import without_variables
from recsys.errors import EngineError
from recsys.pipeline.run import Run
from recsys.pipeline.run_stages import run_stages
from recsys.pipeline.stage import Stage
from recsys.pipeline.stages import FINETUNE, FIT_FUSION
from recsys.pipeline.workers.cluster import cluster
from recsys.pipeline.workers.cpu_needs import min_cpus
from recsys.settings import Config, decode_config
from recsys.storage.runs import RunFolder
from recsys.training.tuning import Value, with_overrides

logger = logging.getLogger(__name__)

#: A trial only waits for its task. Tune does not take 0.
_TRIAL_CPUS = 0.001

Overrides = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What a trial reached on validation."""

    number: int
    overrides: Overrides
    ndcg: float
    """NDCG@10 of all signals together."""
    ranker_ndcg: float
    """NDCG@10 of the ranker alone."""
    epochs: int
    seconds: float
    """Of its stages."""
    error: str = ""
    """Why it has no figures; empty: it has."""


def run_trials(
    base: Run, stages: Sequence[Stage[Any]], trials: Sequence[Overrides], concurrent: int
) -> list[TrialResult]:
    """Run the trials that are not finished, and return the results of all in their order.

    Args:
        base: A run whose stages before `stages` are done. It is only read.
        stages: What each trial runs, from the training to the fitted weights.
        trials: The settings that differ from those of the base.
        concurrent: Trials at the same time.

    Raises:
        EngineError: not all trials have ended.
    """
    filesystem, root = base.storage.arrow()
    folder = f"{root}/tune/{base.folder.run_id}"
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # relative paths of the config start at the working directory
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # with it, Ctrl-C would end `fit` as if all trials were done
    trial = tune.with_resources(
        tune.with_parameters(_trial, base=base, stages=list(stages), trials=list(trials)), {"cpu": _TRIAL_CPUS}
    )
    # Tune prints tables, after a restore also where it was told to be quiet; stdout is for the answer of the job.
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of Ray's own settings
        if tune.Tuner.can_restore(folder, storage_filesystem=filesystem):
            logger.info("tune: the trials of %s go on", base.folder.run_id)
            tuner = tune.Tuner.restore(folder, trial, storage_filesystem=filesystem, restart_errored=True)
        else:
            tuner = tune.Tuner(
                trial,
                param_space={"number": tune.grid_search(list(range(len(trials))))},
                tune_config=tune.TuneConfig(max_concurrent_trials=concurrent),
                run_config=tune.RunConfig(
                    name=base.folder.run_id, storage_path=f"{root}/tune", storage_filesystem=filesystem, verbose=0
                ),
            )
        grid = tuner.fit()
    ended = [grid[place] for place in range(len(grid))]
    if len(ended) < len(trials) or not all(each.error or "ndcg" in (each.metrics or {}) for each in ended):
        raise EngineError("tune: Ray Tune ended before the last trial did; start the tuning again: it goes on")
    return sorted((_result_of(each, trials) for each in ended), key=lambda result: result.number)


def _result_of(result: tune.Result, trials: Sequence[Overrides]) -> TrialResult:
    assert result.config is not None, "every trial has its number"
    number = result.config["number"]
    if result.error is not None:
        why = str(result.error).strip().splitlines()[-1]
        return TrialResult(
            number=number, overrides=trials[number], ndcg=0.0, ranker_ndcg=0.0, epochs=0, seconds=0.0, error=why
        )
    assert result.metrics is not None, "it has ended"
    figures = {key: result.metrics[key] for key in ("ndcg", "ranker_ndcg", "epochs", "seconds")}
    return TrialResult(number=number, overrides=trials[number], **figures)


def _trial(
    settings: dict[str, int], base: Run, stages: Sequence[Stage[Any]], trials: Sequence[Overrides]
) -> dict[str, float]:
    """One trial, in a task of its own.

    Tune would place all tasks of its process in the CPUs of that process. This task, and those that it starts, take
    their CPUs from the cluster, as those of a night do.
    """
    number = settings["number"]
    task = ray.remote(_run_trial).options(num_cpus=0, scheduling_strategy="DEFAULT", max_retries=0)
    figures: dict[str, float] = ray.get(task.remote(trial_run(base, number, trials[number]), base, list(stages)))
    return figures


def _run_trial(run: Run, base: Run, stages: Sequence[Stage[Any]]) -> dict[str, float]:
    """Train and measure the model of a trial."""
    with cluster(min_cpus(run.config)):
        if not run.storage.exists(run.folder.start_path):
            share_inputs(base, run)
        run_stages(run, stages)
    trained, fused = run.record(FINETUNE), run.record(FIT_FUSION)
    done = [run.done(stage) for stage in stages]
    seconds = sum(each.timing.seconds for each in done if each is not None)
    return {"ndcg": fused.ndcg, "ranker_ndcg": trained.validation_ndcg, "epochs": trained.epochs, "seconds": seconds}


def trial_run(base: Run, number: int, overrides: Overrides) -> Run:
    """The run of a trial: the settings of the base with the overrides, and a folder of its own."""
    folder = RunFolder(base.storage, f"{base.folder.run_id}-{number}")
    return replace(base, config=trial_config(base.config, overrides), folder=folder)


def trial_config(config: Config, overrides: Overrides) -> Config:
    """The config of a trial.

    Raises:
        ConfigError: the values do not fit together.
    """
    return decode_config(with_overrides(without_variables(config.model_dump(mode="json")), overrides))


def share_inputs(base: Run, run: Run) -> None:
    """Copy what the base has read and encoded; the file that says a run has begun comes last."""
    start = base.folder.start_path.removeprefix(f"{base.folder.dir}/")
    for source, target in ((base.folder.histories_dir, run.folder.histories_dir), (base.folder.dir, run.folder.dir)):
        for name in base.storage.list(source, recursive=True):
            if name != start:
                with (
                    base.storage.local_file(f"{source}/{name}") as local,
                    run.storage.new_file(f"{target}/{name}") as new,
                ):
                    new.path.write_bytes(local.read_bytes())
    run.storage.write_bytes(run.folder.start_path, base.storage.read_bytes(base.folder.start_path))


def delete_trials(base: Run, num_trials: int) -> None:
    """Delete the files of a finished tuning: those of the trials, then those of the base. Results stay.

    The folder of the base goes last: where it is left, a deletion was interrupted.
    """
    for run in [*(trial_run(base, number, {}) for number in range(num_trials)), base]:
        for folder in (run.model_path(), run.folder.histories_dir, run.folder.dir):
            run.storage.delete_folder(folder)
