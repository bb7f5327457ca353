"""Deleting the nights that no rule of `retention` keeps.

A night is withdrawn first: its receipt and its manifest go before its data, so that nobody finds half a night.
A deletion that is interrupted is finished by the next one.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from recsys.errors import LockedError, is_defect, one_line
from recsys.pipeline.publishing.retention_plan import DeletedRun, RetentionPlan, plan_retention
from recsys.pipeline.publishing.write_report import write_index_again
from recsys.pipeline.run import Run
from recsys.pipeline.stages import PUBLISH_LISTS
from recsys.storage.config import RetentionConfig
from recsys.storage.filesystem import Storage
from recsys.storage.lease import RETENTION, check_held, lock
from recsys.storage.manifest import MANIFEST, lists_folder
from recsys.storage.publish import deletion_mark, receipt_path
from recsys.storage.runs import RunFolder
from recsys.storage.site import night_page

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Retained:
    """What a retention did."""

    deleted: list[str] = field(default_factory=list)
    """Ids of runs, without those that an earlier retention had begun to delete."""
    in_use: list[str] = field(default_factory=list)
    """Ids of runs on which another process works, or worked meanwhile: the next retention looks at them again."""
    bytes: int = 0
    """What was freed."""


def retain_nights(storage: Storage, settings: RetentionConfig, now: dt.datetime | None = None) -> Retained:
    """Delete the runs that the settings do not keep, oldest first, and vectors of texts that nothing kept reads.

    Args:
        storage: The root.
        settings: The rules.
        now: Instead of the time now.

    Raises:
        InputError: what is needed cannot be told, see `plan_retention`; nothing was deleted.
        LockedError: another retention or a rollback is at work, or this process lost its lock.
    """
    now = now or dt.datetime.now(dt.UTC)
    first = plan_retention(storage, settings, now)
    runs = [*(gone.run for gone in first.runs), *(RunFolder(storage, run_id) for run_id in first.kept)]
    if not runs or not (first.runs or first.stores):
        return Retained()
    with lock(runs[0], RETENTION):
        first = plan_retention(storage, settings, now)  # again, since a rollback may have come before the lock
        in_use = sorted({gone.run.run_id for gone in first.runs} - _with_locks(first.runs, _withdraw))
        # All of them are withdrawn before the first file goes: what is published may need the model of any of them.
        plan = plan_retention(storage, settings, now, [*first.kept, *in_use])
        done = _with_locks(plan.runs, _delete)
        in_use += [gone.run.run_id for gone in plan.runs if gone.run.run_id not in done]
        gone_now = [gone for gone in first.runs if gone.run.run_id in done]
        freed = sum(gone.bytes for gone in gone_now) + _delete_stores(storage, plan)
    return Retained(deleted=[gone.run.run_id for gone in gone_now if not gone.begun], in_use=in_use, bytes=freed)


def retain_after(run: Run) -> dict[str, Any]:
    """Apply the config's retention at the end of a published night, whose outcome stays whatever happens here.

    Returns:
        For the answer of the job: `deleted_nights`, if there are any, and `retention_error`, if it failed.
    """
    if not run.config.retention.is_on:
        return {}
    try:
        done = retain_nights(run.storage, run.config.retention)
    except LockedError:
        return {}  # another job deletes the same nights
    except Exception as error:
        why = one_line(error)
        logger.warning("old nights were not deleted: %s", why, exc_info=is_defect(error))
        return {"retention_error": why}
    if done.deleted:
        write_index_again(run.storage)
        logger.info("retention: deleted %s (%.1f MB)", ", ".join(done.deleted), done.bytes / 1e6)
    return {"deleted_nights": done.deleted} if done.deleted else {}


def _with_locks(runs: Iterable[DeletedRun], work: Callable[[DeletedRun], None]) -> set[str]:
    """Work on runs under their locks; ids of those that no other process works on, or did since the plan was made."""
    done: set[str] = set()
    for _, of_date in groupby(runs, key=lambda gone: gone.run.date):
        group = list(of_date)
        with suppress(LockedError), lock(group[0].run) as lease:
            if lease.generation == group[0].generation + 1:
                done.update(gone.run.run_id for gone in group if _with_own_lock(gone, work))
        check_held()  # raises if it is our own lock that was lost
    return done


def _with_own_lock(gone: DeletedRun, work: Callable[[DeletedRun], None]) -> bool:
    """The same for one run, under the lock that jobs hold which read a published run."""
    try:
        with lock(gone.run, gone.run.run_id):
            work(gone)
    except LockedError:
        check_held()
        return False
    gone.run.storage.delete_folder(f"locks/{gone.run.run_id}")
    return True


def _withdraw(gone: DeletedRun) -> None:
    """Take back that a run is published.

    A job that starts this night in the middle finds no start, and begins it from nothing; or it finds the manifest and
    all data, and publishes the night again.
    """
    run, storage = gone.run, gone.run.storage
    storage.write_json(deletion_mark(run), {"begun_at": dt.datetime.now(dt.UTC).isoformat()})
    for path in (run.start_path, run.stage_path(PUBLISH_LISTS.name), receipt_path(run)):
        storage.delete(path)
    storage.delete(f"{lists_folder(run)}/{MANIFEST}")


def _delete(gone: DeletedRun) -> None:
    """Delete the files of a run; its mark goes last, and stays as long as a kept run needs a model of it."""
    run, storage = gone.run, gone.run.storage
    storage.delete(night_page(run.run_id))
    for model in gone.models:
        storage.delete(f"{model}/model.json")  # without its card it is no model
    for folder in (*gone.folders, *gone.models):
        check_held()
        storage.delete_folder(folder)
    mark = deletion_mark(run)
    own = (f"{run.dir}/{name}" for name in storage.list(run.dir, recursive=True))
    storage.delete_files([path for path in own if path != mark])
    if not gone.shared:
        storage.delete_folder(run.dir)


def _delete_stores(storage: Storage, plan: RetentionPlan) -> int:
    """Delete vectors that nothing kept reads; returns their bytes."""
    for folder in plan.stores:
        check_held()
        storage.delete_folder(folder)
    return sum(plan.stores.values())
