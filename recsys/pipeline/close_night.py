"""What is left to do when a night's outcome is settled: metrics, the report, the deletion of intermediate files, and
the merging of small files of feedback.

No failure here changes the outcome. What a published night lacks is made up by its next start.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from recsys.errors import LockedError, is_defect, one_line
from recsys.pipeline.inputs.compact_feedback import compact_feedback
from recsys.pipeline.inputs.input_list import first_feedback_day
from recsys.pipeline.inputs.validated_uses import delete_stale_entries
from recsys.pipeline.publishing.publish_lists import delete_intermediate_files, intermediate_folders, stage_metrics
from recsys.pipeline.publishing.write_report import has_report, write_report
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.storage.lease import lock
from recsys.storage.publish import lost_pointer, publish

logger = logging.getLogger(__name__)


def write_metrics_and_report(run: Run, refused: Mapping[str, Any]) -> dict[str, str]:
    """Store the records of the finished stages for people: as JSON and as a page; then `describe_models`.

    Args:
        run: The run.
        refused: Figures that led to its refusal.

    Returns:
        For the answer of the job: `report_error`, if there is no report, and the errors of `describe_models`.
    """
    error = _write_metrics(run, refused) or write_report(run)
    return ({"report_error": error} if error else {}) | describe_models(run)


def describe_models(run: Run) -> dict[str, str]:
    """Write a card beside each model of the run, and hand the run to the trackers.

    Returns:
        For the answer of the job: `model_card_error`, if there is no card, and `tracking_error`, if a tracker failed.
    """
    # torch comes with both: a wrong config is refused before it is imported
    from recsys.pipeline.publishing.write_model_cards import write_model_cards
    from recsys.pipeline.track_night import track_night

    error = write_model_cards(run)
    return ({"model_card_error": error} if error else {}) | track_night(run)


def _write_metrics(run: Run, refused: Mapping[str, Any]) -> str:
    """Why the metrics could not be written; empty if they were. Without them no report is written: both are made up."""
    try:
        run.folder.write_metrics({"run_id": run.folder.run_id, "stages": stage_metrics(run), "refused": dict(refused)})
    except Exception as error:
        why = one_line(error)
        logger.warning("the metrics of %s were not written: %s", run.folder.run_id, why, exc_info=is_defect(error))
        return why
    return ""


def clean_up(run: Run, stages: Iterable[Stage[Any]]) -> dict[str, str]:
    """Delete the intermediate files of a published night, entries of the ledger that no night uses any more, and what
    killed writers left in the storage, which may hold what persons did.

    Returns:
        For the answer of the job: `cleanup_error`, if some are left.
    """
    try:
        delete_intermediate_files(run, stages)
        delete_stale_entries(run.storage, dt.datetime.now(dt.UTC))
        run.storage.remove_left_behind()
    except Exception as error:
        why = one_line(error)
        logger.warning(
            "intermediate files of %s were not deleted: %s", run.folder.run_id, why, exc_info=is_defect(error)
        )
        return {"cleanup_error": why}
    return {}


def tidy_feedback(run: Run) -> dict[str, str]:
    """Merge the small files of feedback, and delete days that are older than `inputs.feedback_days`.

    Returns:
        For the answer of the job: `feedback_error`, if that failed. The next night tries it again.
    """
    if not run.config.inputs.feedback:
        return {}
    try:
        # a night of a later date than today must not delete what the nights until then read
        date = min(run.date, dt.datetime.now(dt.UTC).date())
        compact_feedback(run.storage, first_feedback_day(run.config, date))
    except Exception as error:
        why = one_line(error)
        logger.warning("the files of feedback were not merged: %s", why, exc_info=is_defect(error))
        return {"feedback_error": why}
    return {}


def make_up(run: Run, stages: Iterable[Stage[Any]]) -> dict[str, Any]:
    """Do what an earlier start of a published night left undone; usually that is nothing.

    Where LATEST is missing, or points to the run with a wrong value, it is written again.

    Returns:
        For the answer of the job: `made_up`, and errors as of the functions above.
    """
    stages = list(stages)
    lacks_report = not has_report(run)
    has_leftovers = any(run.storage.list(folder) for folder in intermediate_folders(run, stages))
    pointer = lost_pointer(run.folder)
    if not (lacks_report or has_leftovers or pointer):
        return {}
    failed: dict[str, str] = {}
    try:
        with lock(run.folder):
            if pointer:
                publish(run.folder, pointer.manifest_sha256, pointer.model_id)
            if lacks_report:
                failed |= write_metrics_and_report(run, {})
            if has_leftovers:
                failed |= clean_up(run, stages)
    except LockedError:
        return {}  # the start that published it is still at it
    wanted = {"pointer": pointer is not None, "report": lacks_report, "cleanup": has_leftovers}
    made_up = [name for name, lacking in wanted.items() if lacking and f"{name}_error" not in failed]
    logger.info("night %s was published before; made up now: %s", run.folder.run_id, ", ".join(made_up) or "nothing")
    return {"made_up": made_up, **failed}
