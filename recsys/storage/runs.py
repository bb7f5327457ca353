"""A run's name, its record of what is done, and the lease that keeps a second run out; it knows no stage by name."""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import logging
import os
import re
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from recsys.errors import ConfigError, LockedError
from recsys.storage.filesystem import Storage, to_json

logger = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
DEAD_AFTER_S = 60.0

_RUN_ID = re.compile(r"\d{4}-\d{2}-\d{2}-[A-Za-z0-9._-]+")
_NUM_READERS = 16
_START_TOLERANCE_S = 2.0


def run_id(date: dt.date, config_digest: str, input_files: Sequence[tuple[str, int, str]], code_version: str) -> str:
    """The night's name, `2026-11-22-` and 12 hex digits; the same night with the same inputs has the same name.

    `input_files` are (path, bytes, version), where the version changes with the content (an ETag, an mtime); their
    order does not matter.
    """
    inputs = json.dumps([date.isoformat(), config_digest, sorted(input_files), code_version])
    return f"{date.isoformat()}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One night's folder of records. A stage is done when its file is there, whole; so is a part of a stage."""

    storage: Storage
    run_id: str

    def __post_init__(self) -> None:
        if not _RUN_ID.fullmatch(self.run_id):
            raise ConfigError(f"run id {self.run_id!r}: must look like 2026-11-22-0123456789ab; see the folder runs/")
        try:
            _ = self.date
        except ValueError as error:
            raise ConfigError(f"run id {self.run_id!r}: does not begin with a date ({error})") from error

    @property
    def date(self) -> dt.date:
        """The night's data date."""
        return dt.date.fromisoformat(self.run_id[:10])

    @property
    def dir(self) -> str:
        """The run's folder; this and every path below is relative to the storage root."""
        return f"runs/{self.run_id}"

    @property
    def config_path(self) -> str:
        """The resolved config."""
        return f"{self.dir}/config.yaml"

    @property
    def metrics_path(self) -> str:
        """What was measured."""
        return f"{self.dir}/metrics.json"

    @property
    def report_path(self) -> str:
        """The run report for people."""
        return f"{self.dir}/report.html"

    @property
    def quarantine_dir(self) -> str:
        """Rows that were refused, with their reasons."""
        return f"{self.dir}/quarantine"

    @property
    def histories_dir(self) -> str:
        """The users' histories in hash shards."""
        return f"histories/{self.run_id}"

    @property
    def stages_dir(self) -> str:
        """The records of what is done."""
        return f"{self.dir}/stages"

    def stage_path(self, stage: str) -> str:
        """The record that says a stage is done."""
        return f"{self.stages_dir}/{_name(stage)}.json"

    def done(self, stage: str) -> dict[str, Any] | None:
        """The record of a finished stage; None where it is not done, or its record is damaged."""
        return self._record(self.stage_path(stage))

    def finish(self, stage: str, record: Mapping[str, Any]) -> None:
        """Say that a stage is done; call it after everything the stage writes is in place."""
        self.storage.write_json(self.stage_path(stage), record)

    def part_path(self, stage: str, part: str) -> str:
        """The record that says a part of a stage is done."""
        return f"{self.stages_dir}/{_name(stage)}/{_name(part)}.json"

    def part_done(self, stage: str, part: str) -> dict[str, Any] | None:
        """The record of a finished part; None where it is not done, or its record is damaged."""
        return self._record(self.part_path(stage, part))

    def finish_part(self, stage: str, part: str, record: Mapping[str, Any]) -> None:
        """Say that a part is done; call it after everything the part writes is in place."""
        self.storage.write_json(self.part_path(stage, part), record)

    def parts(self, stage: str) -> dict[str, dict[str, Any]]:
        """The records of all finished parts, by name."""
        names = [name.removesuffix(".json") for name in self.storage.list(f"{self.stages_dir}/{_name(stage)}")]
        with ThreadPoolExecutor(_NUM_READERS) as readers:
            records = list(readers.map(lambda name: self.part_done(stage, name), names))
        return {name: record for name, record in zip(names, records, strict=True) if record is not None}

    def forget(self) -> None:
        """Drop the records of what is done, so that the night starts anew; what is published stays."""
        self.storage.delete_folder(self.stages_dir)

    def write_config(self, text: str) -> None:
        """Keep the resolved config (YAML) beside the run."""
        self.storage.write_bytes(self.config_path, text.encode())

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Keep what was measured beside the run."""
        self.storage.write_json(self.metrics_path, metrics)

    def _record(self, path: str) -> dict[str, Any] | None:
        try:
            record = self.storage.read_json(path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            logger.warning("%s is damaged (%s): its work is done again", self.storage.url(path), error)
            return None
        return record if isinstance(record, dict) else None


def _name(name: str) -> str:
    if not name or "/" in name:
        raise AssertionError(f"a stage or part is one plain name, got {name!r}")
    return name


class Lease:
    """The right to work on a run, held by the highest numbered file in `runs/<run_id>/lock/`.

    A heartbeat thread keeps it fresh. Whoever slept too long may have been replaced: `check()` before publishing.
    """

    def __init__(self, run: Run, generation: int, record: dict[str, Any]) -> None:
        self.generation = generation
        self._run = run
        self._record = record
        self._stopped = threading.Event()

    def check(self) -> None:
        """Raise LockedError when another process took the run over."""
        highest, record = _highest(self._run)
        if highest > self.generation:
            raise LockedError(
                f"run {self._run.run_id}: {_holder(record)} took it over, since this process ({os.getpid()}) gave no "
                "heartbeat; nothing more is written here, leave the work to it"
            )

    def _beat(self, heartbeat_s: float) -> None:
        while not self._stopped.wait(heartbeat_s):
            try:
                self._write(heartbeat_at=_now())
            except Exception:
                # A lost heartbeat costs nothing while a later one comes through; a dead thread costs the lease.
                logger.warning("run %s: a heartbeat failed, trying again", self._run.run_id, exc_info=True)

    def _release(self) -> None:
        try:
            self._write(heartbeat_at=_now(), released_at=_now())
        except Exception:
            # The work is done or has failed by itself; either must not be hidden by this.
            logger.warning("run %s: the lease was not released, it expires", self._run.run_id, exc_info=True)

    def _write(self, **changes: str) -> None:
        self._record = {**self._record, **changes}
        self._run.storage.write_json(_lease_path(self._run, self.generation), self._record)


@contextlib.contextmanager
def lock(run: Run, heartbeat_s: float = HEARTBEAT_S, dead_after_s: float = DEAD_AFTER_S) -> Iterator[Lease]:
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
        thread.join()  # else a late heartbeat would undo the release
        lease._release()


def _acquire(run: Run, dead_after_s: float) -> Lease:
    token = uuid.uuid4().hex
    while True:
        highest, holder = _highest(run)
        # The token tells our own lease, where the answer to its creation was lost on the network.
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


def _lease_path(run: Run, generation: int) -> str:
    return f"{run.dir}/lock/{generation:08d}.json"


def _highest(run: Run) -> tuple[int, dict[str, Any]]:
    """The highest generation and its record; (0, {}) where there is none, {} where it is damaged."""
    generations = [int(stem) for name in run.storage.list(f"{run.dir}/lock") if (stem := Path(name).stem).isdecimal()]
    if not generations:
        return 0, {}
    highest = max(generations)
    return highest, run._record(_lease_path(run, highest)) or {}


def _alive(record: Mapping[str, Any], dead_after_s: float) -> bool:
    try:
        age_s = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(record["heartbeat_at"])).total_seconds()
        if "released_at" in record or age_s > dead_after_s:
            return False
        return record["machine"] != _machine() or _process_runs(int(record["pid"]), float(record["process_started_at"]))
    except (KeyError, TypeError, ValueError):
        return False  # no lease, or a damaged one, protects nothing


def _process_runs(pid: int, started_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A number is used again, and a killed child stays as a zombie until its parent looks.
        same = abs(process.create_time() - started_at) < _START_TOLERANCE_S
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _machine() -> str:
    """Where a process number means the same: host names repeat among containers, and so do their numbers."""
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        marks.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(marks)


def _holder(record: Mapping[str, Any]) -> str:
    return f"process {record.get('pid', 'unknown')} on {record.get('host', 'an unknown host')}"


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
