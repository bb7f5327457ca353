"""What is left to do when the lists are out: the report, and the deletion of intermediate files.

A night is published whether or not this succeeds. What failed is made up by the next start.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from recsys.errors import LockedError
from recsys.pipeline.publish_lists import delete_intermediate_files, intermediate_folders, stage_metrics
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.pipeline.write_report import write_report
from recsys.storage.lease import lock

logger = logging.getLogger(__name__)


def close_night(run: Run, stages: Iterable[Stage[Any]]) -> dict[str, str]:
    """Write the report of a published night and delete its intermediate files.

    Returns:
        For the answer of the job: `report_error` and `cleanup_error`, if one failed.
    """
    work: dict[str, Callable[[], None]] = {
        "report_error": lambda: write_report(run),
        "cleanup_error": lambda: delete_intermediate_files(run, stages),
    }
    failed = {}
    for name, do in work.items():
        try:
            do()
        except Exception as error:
            # The lists are published and complete: no failure here may look like a failed night.
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            logger.warning(
                "night %s: its lists are published, but %s: %s; the next start of this night tries it again",
                *(run.folder.run_id, name.replace("_", ": "), failed[name]),
                exc_info=True,
            )
    return failed


def make_up(run: Run, stages: Iterable[Stage[Any]]) -> dict[str, Any]:
    """Do what an earlier start of a published night left undone; usually that is nothing.

    Returns:
        For the answer of the job: `made_up`, and errors as in `close_night`.
    """
    stages = list(stages)
    missing = [] if run.storage.exists(run.folder.report_path) else ["report"]
    missing += ["cleanup"] if any(run.storage.list(folder) for folder in intermediate_folders(run, stages)) else []
    if not missing:
        return {}
    try:
        with lock(run.folder):
            if not run.storage.exists(run.folder.metrics_path):
                write_metrics(run, {})
            failed = close_night(run, stages)
    except LockedError:
        return {}  # the start that published it, or another one, is at it
    done = [name for name in missing if f"{name}_error" not in failed]
    if done:
        logger.info("night %s was published before; made up now: %s", run.folder.run_id, ", ".join(done))
    return {"made_up": done} | failed


def write_metrics(run: Run, refused: Mapping[str, Any]) -> None:
    """Store the records of the finished stages for people, and the counts that led to a refusal."""
    run.folder.write_metrics({"run_id": run.folder.run_id, "stages": stage_metrics(run), "refused": dict(refused)})
