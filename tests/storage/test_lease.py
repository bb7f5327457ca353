import contextlib
import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from recsys.errors import LockedError
from recsys.storage.filesystem import Storage
from recsys.storage.json_files import to_json
from recsys.storage.lease import Lease, lock
from recsys.storage.runs import RunFolder


@pytest.fixture
def run(root: str) -> RunFolder:
    return RunFolder(Storage(root), "2026-11-22-0123456789ab")


def lease_path(run: RunFolder, generation: int) -> str:
    return f"locks/{run.date}/{generation:08d}.json"


def write_lease(run: RunFolder, generation: int, **changes: object) -> None:
    """A lease of this very process, alive unless changed."""
    with lock(RunFolder(run.storage, "2026-11-21-template")) as lease:
        run.storage.write_json(lease_path(run, generation), {**lease._record, **changes})


def ago(seconds: float) -> str:
    return (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)).isoformat()


def test_a_live_lease_keeps_others_out_and_names_its_holder(run: RunFolder) -> None:
    with lock(run) as lease:
        lease.check()
        since = re.escape(lease._record["started_at"])
        with pytest.raises(LockedError, match=rf"process {os.getpid()} on .* since {since}"), lock(run):
            pass
        lease.check()
    with lock(run) as second:
        assert second.generation == lease.generation + 1


def test_the_lease_is_released_when_the_work_fails(run: RunFolder) -> None:
    with pytest.raises(RuntimeError, match="work"), lock(run):
        raise RuntimeError("work")
    with lock(run):
        pass


def test_two_runs_do_not_block_each_other(run: RunFolder) -> None:
    other = RunFolder(run.storage, "2026-11-23-0123456789ab")
    with lock(run) as lease, lock(other) as lease_of_other:
        lease.check()
        lease_of_other.check()
        assert (lease.generation, lease_of_other.generation) == (1, 1)
        for held in (run, other):
            with pytest.raises(LockedError, match=held.run_id), lock(held):
                pass


def test_two_configs_of_one_night_exclude_each_other_and_the_message_names_the_run(run: RunFolder) -> None:
    other = RunFolder(run.storage, "2026-11-22-fedcba987654")
    with lock(run):
        message = rf"the night of 2026-11-22: process {os.getpid()} on .*, run {run.run_id}, holds it since"
        with pytest.raises(LockedError, match=message), lock(other):
            pass
        with lock(other, other.run_id) as own:  # work that stays in a run's own folder
            own.check()
            with pytest.raises(LockedError, match=f"run {other.run_id}: "), lock(other, other.run_id):
                pass
    with lock(other):
        pass


@pytest.mark.parametrize("dead", [None, {"heartbeat_at": "old"}, {"released_at": "now"}, {"pid": "gone"}])
def test_of_sixteen_racers_one_holds_the_run(run: RunFolder, dead: dict[str, object] | None) -> None:
    if dead is not None:
        values = {"old": ago(61), "now": ago(0), "gone": 2**22 + 1}
        write_lease(run, 7, **{key: values[str(value)] for key, value in dead.items()})
    start = threading.Barrier(16)
    end = threading.Event()

    def race(_: int) -> int | None:
        start.wait()
        try:
            with lock(run) as lease:
                end.wait(60)
                lease.check()
                return lease.generation
        except LockedError:
            return None
        finally:
            counted.release()

    counted = threading.Semaphore(0)
    with ThreadPoolExecutor(16) as threads:
        racers = threads.map(race, range(16))
        for _ in range(15):
            assert counted.acquire(timeout=60)
        end.set()
        generations = [generation for generation in racers if generation is not None]
    assert generations == [1 if dead is None else 8]


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({}, False),
        ({"heartbeat_at": 30}, False),
        ({"heartbeat_at": 90}, True),
        ({"pid": 2**22 + 1}, True),
        ({"process_started_at": 1.0}, True),
        ({"pid": 2**22 + 1, "machine": "another"}, False),
        ({"machine": "another", "heartbeat_at": 90}, True),
        ({"released_at": 0, "machine": "another"}, True),
        ({"heartbeat_at": "damaged"}, True),
    ],
)
def test_who_counts_as_dead(tmp_path: Path, changes: dict[str, object], free: bool) -> None:
    run = RunFolder(Storage(str(tmp_path)), "2026-11-22-0123456789ab")
    # Ages become moments only now: a session may have begun a minute ago.
    moments = {key: ago(value) for key, value in changes.items() if key.endswith("_at") and type(value) is int}
    write_lease(run, 1, **{**changes, **moments})
    if free:
        with lock(run) as lease:
            assert lease.generation == 2
    else:
        with pytest.raises(LockedError), lock(run):
            pass


def test_a_replaced_holder_learns_it_before_publishing(run: RunFolder) -> None:
    with lock(run) as sleeper:
        run.storage.write_json(lease_path(run, 1), {**sleeper._record, "heartbeat_at": ago(90)})
        with lock(run) as successor:
            successor.check()
            with pytest.raises(LockedError, match="took it over"):
                sleeper.check()
    with pytest.raises(LockedError, match="took it over"):
        sleeper.check()  # the sleeper's own release came after, and must not matter


@contextlib.contextmanager
def holder_process(run: RunFolder) -> Iterator[subprocess.Popen[str]]:
    code = """
import sys
from recsys.storage.filesystem import Storage
from recsys.storage.lease import lock
from recsys.storage.runs import RunFolder
with lock(RunFolder(Storage(sys.argv[1]), sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, run.storage.root, run.run_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_holder_is_replaced_at_once(run: RunFolder) -> None:
    with holder_process(run) as process:
        with pytest.raises(LockedError, match=f"process {process.pid} "), lock(run):
            pass
        os.kill(process.pid, signal.SIGKILL)
        # Nobody waits for the child here: until then it is a zombie, and its number is taken.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.pid_exists(process.pid)
        with lock(run) as lease:
            assert lease.generation == 2


class Faulty(Storage):
    """A storage whose next writes fail, and that tells of each try."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        object.__setattr__(self, "failures", 0)
        object.__setattr__(self, "tries", threading.Semaphore(0))

    failures: int
    tries: threading.Semaphore

    def write_bytes(self, path: str, data: bytes) -> None:
        try:
            if self.failures:
                object.__setattr__(self, "failures", self.failures - 1)
                raise ConnectionError("the network is away")
            super().write_bytes(path, data)
        finally:
            self.tries.release()


def test_the_heartbeat_goes_on_after_failures_and_stops_with_the_block(tmp_path: Path) -> None:
    storage = Faulty(str(tmp_path))
    run = RunFolder(storage, "2026-11-22-0123456789ab")
    with lock(run, heartbeat_s=0.001) as lease:
        first = storage.read_json(lease_path(run, 1))["heartbeat_at"]
        object.__setattr__(storage, "failures", 3)
        for _ in range(6):
            assert storage.tries.acquire(timeout=60)
        assert storage.read_json(lease_path(run, 1))["heartbeat_at"] > first
        lease.check()
    assert "released_at" in storage.read_json(lease_path(run, 1))
    assert not [thread for thread in threading.enumerate() if thread.name == f"lease-{run.run_id}"]


def test_a_failed_release_does_not_hide_the_result(tmp_path: Path) -> None:
    storage = Faulty(str(tmp_path))
    run = RunFolder(storage, "2026-11-22-0123456789ab")
    with lock(run):
        object.__setattr__(storage, "failures", 1)
    assert "released_at" not in storage.read_json(lease_path(run, 1))


def test_a_lease_whose_creation_was_answered_wrongly_is_still_ours(tmp_path: Path) -> None:
    class Forgetful(Storage):
        """The put went through; its answer was lost, and the retry met the file."""

        def create_bytes(self, path: str, data: bytes) -> bool:
            super().create_bytes(path, data)
            return False

    with lock(RunFolder(Forgetful(str(tmp_path)), "2026-11-22-0123456789ab")) as lease:
        assert isinstance(lease, Lease)
        assert lease.generation == 1


def test_a_damaged_lease_does_not_block_for_ever(run: RunFolder) -> None:
    run.storage.write_bytes(lease_path(run, 3), to_json({"host": "x"})[:5])
    with lock(run) as lease:
        assert lease.generation == 4
    assert json.loads(run.storage.read_bytes(lease_path(run, 4)))["pid"] == os.getpid()
