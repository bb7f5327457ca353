"""Running stages: each runs once, is measured, and is remembered."""

import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from recsys.errors import RecsysError
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Done, R, Stage, Timing
from recsys.pipeline.stage_progress import StageBegins, StageEnds, tell
from recsys.pipeline.workers.cpu_time import job_cpu
from recsys.pipeline.workers.memory import peak_memory_mb, reset_peak_memory
from recsys.storage.lease import check_held

logger = logging.getLogger(__name__)

#: Fields of records that the log shows in addition to whole numbers.
_SHOWN = ("loss", "validation_ndcg@10", "verdict", "reason")


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
        EngineError, StorageError: Ray failed, or a disk is full.
    """
    done = run.done(stage)
    if done is not None and stage.stays(done.record) and run.has_parts(stage, done.record):
        tell(logger, _ends(stage, done, before=True))
        return done.record
    tell(logger, StageBegins(stage=stage.name))
    check_held()
    reset_peak_memory()
    start, cpu_before = time.monotonic(), job_cpu()
    with _failures_explained(stage):
        record = stage.work(run, **arguments)
    seconds = time.monotonic() - start
    peak = round(max(record.peak_memory_mb, peak_memory_mb()), 1)
    timing = Timing(
        seconds=round(seconds, 3),
        rows_per_s=round(record.rows / max(seconds, 1e-9), 1),
        finished_at=dt.datetime.now(dt.UTC).isoformat(),
        cpu_seconds=round(job_cpu() - cpu_before, 3),
    )
    done = Done(dataclasses.replace(record, peak_memory_mb=peak), timing)
    check_held()  # a process that was stopped meanwhile must not write beside its successor
    run.remember(stage, done)
    tell(logger, _ends(stage, done, before=False))
    return done.record


@contextmanager
def _failures_explained(stage: Stage[Any]) -> Iterator[None]:
    """Say that the run was lost, if it was, else turn errors of Ray and of full disks into a line of ours."""
    try:
        yield
    except Exception as error:
        check_held()  # a successor may have deleted what the stage reads: then that is the error to report
        if isinstance(error, RecsysError):
            raise
        # Ray comes with it, and a night may be refused without
        from recsys.pipeline.workers.worker_failures import as_ours

        if (ours := as_ours(stage.name, error)) is None:
            raise
        raise ours from error


def _ends(stage: Stage[Any], done: Done[Any], *, before: bool) -> StageEnds:
    """A finished stage for people: its time, and its counts without those that are 0."""
    fields = done.as_json()
    rows, peak = fields.pop("rows"), fields.pop("peak_memory_mb")
    figures = {
        key: round(value, 4) if isinstance(value, float) else value
        for key, value in fields.items()
        if value and (type(value) is int or key in _SHOWN)
    }
    timing = done.timing
    return StageEnds(
        stage=stage.name,
        seconds=timing.seconds,
        rows=rows,
        rows_per_s=timing.rows_per_s,
        peak_memory_mb=peak,
        figures=figures,
        before=before,
    )
