"""What is left to do when a night's outcome is settled: metrics, the report, the deletion of intermediate files, and
the merging of small files of feedback.

No failure here changes the outcome. What a published night lacks is made up by its next start.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
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
    run_id = run.folder.run_id

    def write() -> None:
        run.folder.write_metrics({"run_id": run_id, "stages": stage_metrics(run), "refused": dict(refused)})

    # without the metrics no report is written: both are made up
    failed = _failure("report_error", f"the metrics of {run_id} were not written", write) or _failure(
        "report_error", f"the report of {run_id} was not written", partial(write_report, run)
    )
    return failed | describe_models(run)


def describe_models(run: Run) -> dict[str, str]:
    """Write a card beside each model of the run, and hand the run to the trackers.

    Returns:
        For the answer of the job: `model_card_error`, if there is no card, and `tracking_error`, if a tracker failed.
    """
    # torch comes with both: a wrong config is refused before it is imported
    from recsys.pipeline.publishing.write_model_cards import write_model_cards
    from recsys.pipeline.track_night import track_night

    what = f"the model cards of {run.folder.run_id} were not written"
    return _failure("model_card_error", what, partial(write_model_cards, run)) | track_night(run)


def clean_up(run: Run, stages: Iterable[Stage[Any]]) -> dict[str, str]:
    """Delete the intermediate files of a published night, entries of the ledger that no night uses any more, and what
    killed writers left in the storage, which may hold what persons did.

    Returns:
        For the answer of the job: `cleanup_error`, if some are left.
    """

    def delete() -> None:
        delete_intermediate_files(run, stages)
        delete_stale_entries(run.storage, dt.datetime.now(dt.UTC))
        run.storage.remove_left_behind()

    return _failure("cleanup_error", f"intermediate files of {run.folder.run_id} were not deleted", delete)


def tidy_feedback(run: Run) -> dict[str, str]:
    """Merge the small files of feedback, and delete days that are older than `inputs.feedback_days`.

    Returns:
        For the answer of the job: `feedback_error`, if that failed. The next night tries it again.
    """
    if not run.config.inputs.feedback:
        return {}
    # a night of a later date than today must not delete what the nights until then read
    date = min(run.date, dt.datetime.now(dt.UTC).date())
    merge = partial(compact_feedback, run.storage, first_feedback_day(run.config, date))
    return _failure("feedback_error", "the files of feedback were not merged", merge)


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


def _failure(key: str, what: str, work: Callable[[], object]) -> dict[str, str]:
    """Do some work, and say under `key` why it failed, if it did; the log says `what`, too."""
    try:
        work()
    except Exception as error:
        why = one_line(error)
        logger.warning("%s: %s", what, why, exc_info=is_defect(error))
        return {key: why}
    return {}
