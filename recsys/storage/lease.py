"""The lock of a night: only one process at a time works on one date of a storage.

A process that was stopped for long may have lost its lock to another. So code under a lock calls `check_held`
before each step that others can see: before a stage and before its record.
"""

import contextlib
import dataclasses
import datetime as dt
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from recsys.errors import LockedError, NewerFormatError, is_defect, one_line
from recsys.storage.json_files import to_json
from recsys.storage.record_kinds import LEASE
from recsys.storage.runs import RunFolder

logger = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
DEAD_AFTER_S = 60.0

#: The lock of a storage that retention and a rollback hold, in addition to those of nights.
RETENTION = "retention"

_START_TOLERANCE_S = 2.0

#: The leases that this process holds.
_held: list["Lease"] = []


class Lease:
    """The right to work on a run, held by the highest numbered file in `locks/<name>/`.

    A heartbeat thread keeps it fresh.
    """

    def __init__(self, folder: "LockFolder", generation: int, record: dict[str, Any]) -> None:
        self.generation = generation
        self._folder = folder
        self._record = record
        self._stopped = threading.Event()

    def check(self) -> None:
        """Raise LockedError when another process took over."""
        highest, record = self._folder.highest()
        if highest > self.generation:
            raise LockedError(
                f"{self._folder.what}: {_holder(record)} took it over, since this process ({os.getpid()}) sent no "
                "heartbeat; this process stops here and leaves the work to it"
            )

    def _beat(self, heartbeat_s: float) -> None:
        while not self._stopped.wait(heartbeat_s):
            try:
                self._write(heartbeat_at=_now())
            except Exception as error:  # noqa: BLE001 (any error: the thread must go on)
                # A lost heartbeat does no harm if a later one arrives; without the thread the lease would be lost.
                _warn(f"{self._folder.what}: a heartbeat failed, trying again", error)

    def _release(self) -> None:
        try:
            self._write(heartbeat_at=_now(), released_at=_now())
        except Exception as error:  # noqa: BLE001 (any error)
            # The work has succeeded or failed already, and this error must not hide that.
            _warn(f"{self._folder.what}: the lease could not be released; it will expire", error)

    def _write(self, **changes: str) -> None:
        self._record = {**self._record, **changes}
        self._folder.run.storage.write_json(self._folder.path(self.generation), LEASE.stamp(self._record))


def _warn(what: str, error: Exception) -> None:
    logger.warning("%s (%s)", what, one_line(error), exc_info=is_defect(error))


@dataclasses.dataclass(frozen=True, slots=True)
class LockFolder:
    """Where the leases of one lock are, and for which run it is asked for."""

    run: RunFolder
    name: str

    @property
    def what(self) -> str:
        """What the lock keeps apart, for messages."""
        if self.name == RETENTION:
            return "the deletion of old nights, or a change of LATEST by jobs/publish.py"
        return f"the night of {self.name}" if self.name == self.run.date.isoformat() else f"run {self.name}"

    def path(self, generation: int) -> str:
        """File of one lease, below the storage root."""
        return f"locks/{self.name}/{generation:08d}.json"

    def highest(self) -> tuple[int, dict[str, Any]]:
        """The highest generation and its record; (0, {}) where there is none, {} where it is damaged.

        Raises:
            LockedError: a newer release wrote it and did not release it; its heartbeat cannot be read here.
        """
        names = [Path(name).stem for name in self.run.storage.list(f"locks/{self.name}")]
        generations = [int(stem) for stem in names if stem.isdecimal()]
        if not generations:
            return 0, {}
        highest = max(generations)
        try:
            return highest, self.run.read_record(self.path(highest), LEASE) or {}
        except NewerFormatError as error:
            if "released_at" in self.run.storage.read_json(self.path(highest)):  # it is there in every version
                return highest, {}
            raise LockedError(f"{self.what}: {error}, or delete this file if no night of that release runs") from error


@contextlib.contextmanager
def lock(
    run: RunFolder, name: str | None = None, *, heartbeat_s: float = HEARTBEAT_S, dead_after_s: float = DEAD_AFTER_S
) -> Iterator[Lease]:
    """Hold a night while the block lasts.

    A holder counts as dead when it released the lease, when its last heartbeat is older than `dead_after_s`, or when
    its process on this machine is gone; then the next generation is created, which only one of many can do.

    Args:
        run: The run to work on.
        name: What is held. None: the run's date, since all runs of a date publish to one place. Work that stays in the
            run's own folder may hold its run id.
        heartbeat_s: Seconds between heartbeats.
        dead_after_s: Seconds.

    Raises:
        LockedError: another process holds it and is alive.
    """
    lease = _acquire(LockFolder(run, name or run.date.isoformat()), dead_after_s)
    thread = threading.Thread(target=lease._beat, args=(heartbeat_s,), name=f"lease-{run.run_id}", daemon=True)
    thread.start()
    _held.append(lease)
    try:
        yield lease
    finally:
        _held.remove(lease)
        lease._stopped.set()
        thread.join()  # a late heartbeat would undo the release
        lease._release()


def last_seen(run: RunFolder, name: str) -> dt.datetime | None:
    """When the last holder of a lock was last known to live; None: nobody held it, or the record is damaged."""
    _, record = LockFolder(run, name).highest()
    try:
        return dt.datetime.fromisoformat(record["heartbeat_at"])
    except (KeyError, TypeError, ValueError):
        return None


def lock_generation(run: RunFolder, name: str) -> int:
    """The generation of the last lease of a lock; 0: there was none."""
    return LockFolder(run, name).highest()[0]


def check_held() -> None:
    """Raise LockedError when another process took over what this one holds; costs a listing for each lease."""
    for lease in _held:
        lease.check()


def _acquire(folder: LockFolder, dead_after_s: float) -> Lease:
    token = uuid.uuid4().hex
    while True:
        highest, holder = folder.highest()
        # If the answer to the creation was lost on the network, the token shows that the lease is our own.
        if holder.get("token") == token:
            return Lease(folder, highest, holder)
        if _alive(holder, dead_after_s):
            raise LockedError(
                f"{folder.what}: {_holder(holder)} holds it since {holder['started_at']}; wait for it or stop it "
                f"(it counts as dead {dead_after_s:.0f} s after its last heartbeat, {holder['heartbeat_at']})"
            )
        record = {
            "token": token,
            "run_id": folder.run.run_id,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "process_started_at": psutil.Process().create_time(),
            "started_at": _now(),
            "heartbeat_at": _now(),
        }
        if folder.run.storage.create_bytes(folder.path(highest + 1), to_json(LEASE.stamp(record))):
            return Lease(folder, highest + 1, record)


def _alive(record: Mapping[str, Any], dead_after_s: float) -> bool:
    try:
        age_s = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(record["heartbeat_at"])).total_seconds()
        if "released_at" in record or age_s > dead_after_s:
            return False
        return record["machine"] != _machine() or _process_runs(int(record["pid"]), float(record["process_started_at"]))
    except (KeyError, TypeError, ValueError):
        return False  # a missing or damaged lease does not count


def _process_runs(pid: int, started_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        # Process numbers are used again, and a killed child stays as a zombie until its parent waits for it.
        same = abs(process.create_time() - started_at) < _START_TOLERANCE_S
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _machine() -> str:
    """A name of the space of process numbers. Containers may have equal host names and equal process numbers."""
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        marks.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(marks)


def _holder(record: Mapping[str, Any]) -> str:
    of_run = f", run {record['run_id']}," if "run_id" in record else ""
    return f"process {record.get('pid', 'unknown')} on {record.get('host', 'an unknown host')}{of_run}"


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
