"""Pointing LATEST to another published night, after every file of that night was checked."""

import logging
from dataclasses import dataclass

from recsys.errors import ConfigError
from recsys.pipeline.publishing.needed_files import verify_night
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, read_latest
from recsys.storage.lease import RETENTION, lock
from recsys.storage.manifest import is_complete
from recsys.storage.publish import deletion_mark, pointer_to, publish
from recsys.storage.runs import RunFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a rollback changed."""

    latest: Latest
    """The night that LATEST names now."""
    before: str | None
    """The run that LATEST named before; None: there was no LATEST."""


def roll_back(storage: Storage, run_id: str) -> Moved:
    """Check a published night as a whole, and point LATEST to it, whether it is older or newer than the one there.

    Raises:
        ConfigError: there is no such night.
        InputError: a file of the night is missing or damaged; the message names it. LATEST stays as it is.
        LockedError: a run of the night's date, a retention or another rollback is at work.
    """
    run = RunFolder(storage, run_id)
    with lock(run) as lease, lock(run, RETENTION):
        pointer = pointer_to(run)
        if pointer is None:
            state = "was not published to its end, start it again" if is_complete(run) else "is not published"
            raise ConfigError(f"--to {run_id}: {state} in {storage.root}; --list shows the nights")
        verify_night(storage, pointer)
        before = read_latest(storage)
        storage.delete(deletion_mark(run))  # of a deletion that was stopped before it deleted anything
        lease.check()
        if before is None or before.run_id != run_id:
            publish(run, pointer.manifest_sha256, pointer.model_id, allow_older=True)
            logger.info("LATEST points to %s now, before to %s", run_id, before.run_id if before else "nothing")
    return Moved(latest=pointer, before=before.run_id if before else None)
