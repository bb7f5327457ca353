"""Running stages: each runs once, is measured, and is remembered."""

import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Iterable
from typing import Any

from recsys.pipeline.memory import peak_memory_mb, reset_peak_memory
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Done, R, Stage, Timing
from recsys.storage.lease import check_held

logger = logging.getLogger(__name__)


def run_stages(run: Run, stages: Iterable[Stage[Any]]) -> None:
    """Run those of the stages that apply to the run's config, one after the other."""
    for stage in stages:
        if stage.applies(run.config):
            run_stage(run, stage)


def run_stage(run: Run, stage: Stage[R], **arguments: Any) -> R:
    """Run a stage, unless it is done.

    Args:
        run: The run.
        stage: What to run.
        arguments: Further arguments of the stage's function.

    Returns:
        The stage's record.

    Raises:
        LockedError: another process took the run over.
    """
    done = run.done(stage)
    if done is not None and stage.stays(done.record):
        logger.info("%s: done before, %s", stage.name, summary(done))
        return done.record
    logger.info("%s …", stage.name)
    check_held()
    reset_peak_memory()
    start = time.monotonic()
    record = stage.work(run, **arguments)
    seconds = time.monotonic() - start
    peak = round(max(record.peak_memory_mb, peak_memory_mb()), 1)
    timing = Timing(
        seconds=round(seconds, 3),
        rows_per_s=round(record.rows / max(seconds, 1e-9), 1),
        finished_at=dt.datetime.now(dt.UTC).isoformat(),
    )
    done = Done(dataclasses.replace(record, peak_memory_mb=peak), timing)
    check_held()  # a process that was stopped meanwhile must not write beside its successor
    run.remember(stage, done)
    logger.info("%s: %s", stage.name, summary(done))
    return done.record


def summary(done: Done[Any]) -> str:
    """A finished stage on one line: its time and its counts."""
    fields = done.as_json()
    counts = [f"{key} {value:,}" for key, value in fields.items() if type(value) is int]
    words = [f"{key} {fields[key]}" for key in ("verdict", "reason") if key in fields]
    return ", ".join([f"{done.timing.seconds:.1f} s", *counts, *words])
