"""The lock of a run: only one process at a time works on it."""

import contextlib
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

from recsys.errors import LockedError
from recsys.storage.json_files import to_json
from recsys.storage.runs import RunFolder

logger = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
DEAD_AFTER_S = 60.0

_START_TOLERANCE_S = 2.0


class Lease:
    """The right to work on a run, held by the highest numbered file in `runs/<run_id>/lock/`.

    A heartbeat thread keeps it fresh. A process that was stopped for too long may have lost it: call `check()` before
    publishing.
    """

    def __init__(self, run: RunFolder, generation: int, record: dict[str, Any]) -> None:
        self.generation = generation
        self._run = run
        self._record = record
        self._stopped = threading.Event()

    def check(self) -> None:
        """Raise LockedError when another process took the run over."""
        highest, record = _highest(self._run)
        if highest > self.generation:
            raise LockedError(
                f"run {self._run.run_id}: {_holder(record)} took it over, since this process ({os.getpid()}) sent no "
                "heartbeat; this process stops here and leaves the work to it"
            )

    def _beat(self, heartbeat_s: float) -> None:
        while not self._stopped.wait(heartbeat_s):
            try:
                self._write(heartbeat_at=_now())
            except Exception:
                # A lost heartbeat does no harm if a later one arrives; without the thread the lease would be lost.
                logger.warning("run %s: a heartbeat failed, trying again", self._run.run_id, exc_info=True)

    def _release(self) -> None:
        try:
            self._write(heartbeat_at=_now(), released_at=_now())
        except Exception:
            # The work has succeeded or failed already, and this error must not hide that.
            logger.warning("run %s: the lease could not be released; it will expire", self._run.run_id, exc_info=True)

    def _write(self, **changes: str) -> None:
        self._record = {**self._record, **changes}
        self._run.storage.write_json(_lease_path(self._run, self.generation), self._record)


@contextlib.contextmanager
def lock(run: RunFolder, heartbeat_s: float = HEARTBEAT_S, dead_after_s: float = DEAD_AFTER_S) -> Iterator[Lease]:
    """Hold the run while the block lasts.

    A holder counts as dead when it released the lease, when its last heartbeat is older than `dead_after_s`, or when
    its process on this machine is gone; then the next generation is created, which only one of many can do.

    Raises:
        LockedError: another process holds the run and is alive.
    """
    lease = _acquire(run, dead_after_s)
    thread = threading.Thread(target=lease._beat, args=(heartbeat_s,), name=f"lease-{run.run_id}", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        lease._stopped.set()
        thread.join()  # a late heartbeat would undo the release
        lease._release()


def _acquire(run: RunFolder, dead_after_s: float) -> Lease:
    token = uuid.uuid4().hex
    while True:
        highest, holder = _highest(run)
        # If the answer to the creation was lost on the network, the token shows that the lease is our own.
        if holder.get("token") == token:
            return Lease(run, highest, holder)
        if _alive(holder, dead_after_s):
            raise LockedError(
                f"run {run.run_id}: {_holder(holder)} holds it since {holder['started_at']}; wait for it or stop it "
                f"(it counts as dead {dead_after_s:.0f} s after its last heartbeat, {holder['heartbeat_at']})"
            )
        record = {
            "token": token,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "process_started_at": psutil.Process().create_time(),
            "started_at": _now(),
            "heartbeat_at": _now(),
        }
        if run.storage.create_bytes(_lease_path(run, highest + 1), to_json(record)):
            return Lease(run, highest + 1, record)


def _lease_path(run: RunFolder, generation: int) -> str:
    return f"{run.dir}/lock/{generation:08d}.json"


def _highest(run: RunFolder) -> tuple[int, dict[str, Any]]:
    """The highest generation and its record; (0, {}) where there is none, {} where it is damaged."""
    generations = [int(stem) for name in run.storage.list(f"{run.dir}/lock") if (stem := Path(name).stem).isdecimal()]
    if not generations:
        return 0, {}
    highest = max(generations)
    return highest, run.read_record(_lease_path(run, highest)) or {}


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
    return f"process {record.get('pid', 'unknown')} on {record.get('host', 'an unknown host')}"


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
