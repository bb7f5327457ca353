"""Feedback is on the disk before it is acknowledged: with many callers, repeats, errors and a kill."""

import asyncio
import datetime as dt
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.events.feedback import FEEDBACK_COLUMNS, FEEDBACK_DIR
from recsys.errors import ConfigError, StorageError
from recsys.serving.contracts import Accepted, FeedbackEvent
from recsys.serving.feedback_log import FeedbackLog, feedback_line
from recsys.storage.filesystem import Storage

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def event(event_id: str, **values: Any) -> FeedbackEvent:
    return FeedbackEvent(**{"event_id": event_id, "user_id": "u1", "item_id": "i1", **values})


def kept(storage: Storage) -> list[dict[str, Any]]:
    files = [storage.read_bytes(f"{FEEDBACK_DIR}/{name}") for name in storage.list(FEEDBACK_DIR)]
    return [json.loads(line) for file in files for line in file.splitlines()]


def ids_of(rows: list[dict[str, Any]]) -> list[str]:
    return [row["event_id"] for row in rows]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "warehouse"))


class HeldSync:
    """The disk's own sync, which waits until the test sets `go_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.num = 0
        self.error: OSError | None = None
        self._sync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        self.num += 1
        self.entered.set()
        assert self.go_on.wait(60)
        if self.error is not None:
            raise self.error
        self._sync(descriptor)

    async def begun(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.entered.wait, 60)


@pytest.fixture
def held_sync(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldSync]:
    held = HeldSync(monkeypatch)
    yield held
    held.go_on.set()


def test_an_event_is_one_line_of_the_nights_columns(storage: Storage) -> None:
    async def send() -> Accepted:
        log = FeedbackLog(storage, "replica-1")
        events = [
            event("e1"),
            event("e2", timestamp="2026-11-22T13:00:00+02:00", event="purchase", weight=2.5, text="gut – ja!"),
            event("e3", item_id=None, text="red lamp", timestamp="2026-11-22T13:00:00.25"),
        ]
        accepted = await log.append(events)
        await log.close()
        return accepted

    before = dt.datetime.now(dt.UTC)
    assert asyncio.run(send()) == Accepted(accepted=3, duplicates=0)
    plain, full, search = kept(storage)
    assert tuple(plain) == FEEDBACK_COLUMNS
    assert before <= dt.datetime.fromisoformat(plain.pop("timestamp")) <= dt.datetime.now(dt.UTC)
    same = {"user_id": "u1", "item_id": "i1", "event": "interaction", "weight": 1.0, "text": ""}
    assert plain == same | {"event_id": "e1"}
    time = {"timestamp": "2026-11-22T11:00:00+00:00"}
    other = {"event_id": "e2", "event": "purchase", "weight": 2.5, "text": "gut – ja!"}
    assert full == same | time | other
    time = {"timestamp": "2026-11-22T13:00:00.250000+00:00"}
    assert search == same | time | {"event_id": "e3", "item_id": "", "text": "red lamp"}


@settings(max_examples=200)
@given(
    st.builds(
        dict,
        event_id=st.text(min_size=1, max_size=9),
        user_id=st.text(min_size=1, max_size=9),
        item_id=st.none() | st.text(min_size=1, max_size=9),
        timestamp=st.none() | st.datetimes(timezones=st.none() | st.timezones()),
        event=st.none() | st.text(max_size=9),
        weight=st.floats(0, 1e6),
        text=st.none() | st.text(max_size=20),
    )
)
def test_every_valid_event_is_one_line(values: dict[str, Any]) -> None:
    try:
        feedback = FeedbackEvent(**values)
    except ValueError:
        return
    line = feedback_line(feedback, NOW)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    row = json.loads(line)
    assert (row["event_id"], row["user_id"], row["weight"]) == (feedback.event_id, feedback.user_id, feedback.weight)
    assert dt.datetime.fromisoformat(row["timestamp"]).tzinfo is not None


def test_a_time_that_utc_does_not_have_is_written_as_it_is() -> None:
    line = json.loads(feedback_line(event("e", timestamp="0001-01-01T00:00:00+05:00"), NOW))
    assert line["timestamp"] == "0001-01-01T00:00:00+05:00"


def test_many_callers_share_a_sync_and_the_loop_stays_free(storage: Storage, held_sync: HeldSync) -> None:
    async def send() -> None:
        log = FeedbackLog(storage, "w")
        first = asyncio.create_task(log.append([event("first")]))
        await held_sync.begun()
        rest = [asyncio.create_task(log.append([event(f"e{number}")])) for number in range(100)]
        for _ in range(10):
            await asyncio.sleep(0)  # the loop turns while the disk does not
        assert not any(task.done() for task in (first, *rest))
        held_sync.go_on.set()
        answers = await asyncio.gather(first, *rest)
        assert answers == [Accepted(accepted=1, duplicates=0)] * 101
        await log.close()

    asyncio.run(send())
    assert sorted(ids_of(kept(storage))) == sorted(["first", *(f"e{number}" for number in range(100))])
    num_folders = 3  # the file's, its new parent's, and where that was made
    assert held_sync.num == num_folders + 2


def test_a_repeat_is_acknowledged_after_the_first_is_durable(storage: Storage, held_sync: HeldSync) -> None:
    async def send() -> None:
        log = FeedbackLog(storage, "w")
        first = asyncio.create_task(log.append([event("a"), event("a"), event("b")]))
        await held_sync.begun()
        again = asyncio.create_task(log.append([event("b")]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not again.done()
        held_sync.go_on.set()
        assert await first == Accepted(accepted=2, duplicates=1)
        assert await again == Accepted(accepted=0, duplicates=1)
        assert await log.append([event("c"), event("a")]) == Accepted(accepted=1, duplicates=1)
        await log.close()

    asyncio.run(send())
    assert ids_of(kept(storage)) == ["a", "b", "c"]


def test_the_memory_of_ids_is_bounded_and_forgets_the_oldest(storage: Storage) -> None:
    async def send() -> list[int]:
        log = FeedbackLog(storage, "w", remembered_ids=2)
        answers = [await log.append([event(name)]) for name in ("a", "b", "c", "c", "b", "a")]
        await log.close()
        return [answer.duplicates for answer in answers]

    assert asyncio.run(send()) == [0, 0, 0, 1, 1, 0]
    assert ids_of(kept(storage)) == ["a", "b", "c", "a"]


def test_a_disk_that_fails_acknowledges_nothing_and_the_next_file_is_new(storage: Storage, held_sync: HeldSync) -> None:
    async def send() -> None:
        log = FeedbackLog(storage, "w")
        held_sync.error = OSError(5, "Input/output error")
        sent = [asyncio.create_task(log.append([event("a")]))]
        await held_sync.begun()
        sent += [asyncio.create_task(log.append([event(name)])) for name in ("a", "b")]
        await asyncio.sleep(0)
        held_sync.go_on.set()
        answers = await asyncio.gather(*sent, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageError] * 3
        assert "its disk fails ([Errno 5] Input/output error)" in str(answers[0])
        held_sync.error = None
        # no event was acknowledged, so no event is a repeat
        assert await log.append([event("a"), event("b")]) == Accepted(accepted=2, duplicates=0)
        await log.close()

    asyncio.run(send())
    *_, last = storage.list(FEEDBACK_DIR)
    rows = storage.read_bytes(f"{FEEDBACK_DIR}/{last}").splitlines()
    assert [json.loads(row)["event_id"] for row in rows] == ["a", "b"]


def test_a_cancelled_caller_withdraws_no_event(storage: Storage, held_sync: HeldSync) -> None:
    async def send() -> None:
        log = FeedbackLog(storage, "w")
        gone = asyncio.create_task(log.append([event("a")]))
        await held_sync.begun()
        stays = asyncio.create_task(log.append([event("a"), event("b")]))
        also_gone = asyncio.create_task(log.append([event("c")]))
        await asyncio.sleep(0)
        gone.cancel()
        also_gone.cancel()
        closing = asyncio.create_task(log.close())
        held_sync.go_on.set()
        assert await stays == Accepted(accepted=1, duplicates=1)
        await closing
        with pytest.raises(RuntimeError, match="closed"):
            await log.append([event("d")])

    asyncio.run(send())
    assert ids_of(kept(storage)) == ["a", "b", "c"]


def test_files_roll_and_their_names_hold_nothing_of_the_events(storage: Storage) -> None:
    async def send() -> None:
        log = FeedbackLog(storage, "w", max_file_bytes=400)
        for number in range(6):
            await log.append([event(f"../../e{number}", user_id="../../etc/passwd", event="a/b")])
        await log.close()

    asyncio.run(send())
    names = storage.list(FEEDBACK_DIR)
    assert storage.list("", recursive=True) == [f"{FEEDBACK_DIR}/{name}" for name in names]
    assert len(names) == 3
    assert len(kept(storage)) == 6
    assert not any("passwd" in name or ".." in name for name in names)


CHILD = """
    import asyncio, itertools, sys
    from recsys.serving.contracts import FeedbackEvent
    from recsys.serving.feedback_log import FeedbackLog
    from recsys.storage.filesystem import Storage

    async def client(log, name):
        for number in itertools.count():
            event = FeedbackEvent(event_id=f"{name}-{number}", user_id="u", item_id="i", text="x" * 2000)
            await log.append([event])
            print(event.event_id, flush=True)

    async def main():
        log = FeedbackLog(Storage(sys.argv[1]), "child", max_file_bytes=100_000)
        await asyncio.gather(*(client(log, name) for name in range(20)))

    asyncio.run(main())
"""


def test_after_a_kill_every_acknowledged_event_is_there(storage: Storage) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), storage.root], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = [next(child.stdout).strip() for _ in range(300)]
    child.send_signal(signal.SIGKILL)
    # the last line may be cut off by the kill
    acknowledged += [line.strip() for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    files = [storage.read_bytes(f"{FEEDBACK_DIR}/{name}") for name in storage.list(FEEDBACK_DIR)]
    assert len(files) > 1
    whole = [line for file in files for line in file.split(b"\n")[:-1]]
    assert set(acknowledged) <= {json.loads(line)["event_id"] for line in whole}

    # the next process does not touch the incomplete file
    async def send() -> None:
        log = FeedbackLog(storage, "child")
        await log.append([event("after")])
        await log.close()

    before = storage.sizes(FEEDBACK_DIR)
    asyncio.run(send())
    after = storage.sizes(FEEDBACK_DIR)
    assert before.items() < after.items()
    assert len(after) == len(before) + 1


@pytest.fixture
def bucket(s3_client: Any) -> str:
    name = f"feedback-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=name)
    return name


def test_on_s3_callers_share_objects_and_a_missing_bucket_is_an_error(bucket: str) -> None:
    async def send() -> list[Accepted]:
        nowhere = FeedbackLog(Storage(f"s3://{bucket}-not/wh"), "w")
        with pytest.raises(ConfigError, match="bucket does not exist"):
            await nowhere.append([event("e0")])
        await nowhere.close()
        log = FeedbackLog(Storage(f"s3://{bucket}/wh"), "w", interval_s=0.1)
        answers = await asyncio.gather(*(log.append([event(f"e{number // 2}")]) for number in range(40)))
        await log.close()
        return answers

    answers = asyncio.run(send())
    storage = Storage(f"s3://{bucket}/wh")
    assert sum(answer.accepted for answer in answers) == sum(answer.duplicates for answer in answers) == 20
    assert ids_of(kept(storage)) == [f"e{number}" for number in range(20)]
    assert len(storage.list(FEEDBACK_DIR)) == 2  # the first caller's, and all the others'


def test_a_burst_on_s3_is_an_object_an_interval_and_each_event_is_there_before_its_answer(bucket: str) -> None:
    storage = Storage(f"s3://{bucket}/wh")
    interval_s = 0.3

    async def client(log: FeedbackLog, number: int, until: float) -> None:
        turns = itertools.count()
        while asyncio.get_running_loop().time() < until:
            turn = next(turns)
            await log.append([event(f"{number}-{turn}")])
            acknowledged.add(f"{number}-{turn}")

    async def send() -> float:
        log = FeedbackLog(storage, "w", interval_s=interval_s)
        start = asyncio.get_running_loop().time()
        await asyncio.gather(*(client(log, number, start + 4 * interval_s) for number in range(50)))
        seconds = asyncio.get_running_loop().time() - start
        await log.close()
        return seconds

    acknowledged: set[str] = set()
    seconds = asyncio.run(send())
    num_objects = len(storage.list(FEEDBACK_DIR))
    assert 2 <= num_objects <= 1 + seconds / interval_s
    assert len(acknowledged) >= 50 * (num_objects - 1)  # every client is in each object but the first
    assert set(ids_of(kept(storage))) == acknowledged


def test_closing_and_a_large_group_do_not_wait_for_the_interval(bucket: str) -> None:
    async def send() -> None:
        log = FeedbackLog(Storage(f"s3://{bucket}/wh"), "w", interval_s=3600, max_group_bytes=1000)
        await log.append([event("first")])
        waiting = [asyncio.create_task(log.append([event(f"small-{number}")])) for number in range(3)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        await asyncio.gather(log.append([event("large", text="x" * 1000)]), *waiting)
        last = asyncio.create_task(log.append([event("last")]))
        await asyncio.sleep(0)
        await log.close()
        assert await last == Accepted(accepted=1, duplicates=0)

    asyncio.run(send())
    storage = Storage(f"s3://{bucket}/wh")
    assert ids_of(kept(storage)) == ["first", "small-0", "small-1", "small-2", "large", "last"]
    assert len(storage.list(FEEDBACK_DIR)) == 3


def test_on_local_disks_nothing_waits(storage: Storage) -> None:
    async def send() -> None:
        log = FeedbackLog(storage, "w", interval_s=3600)
        for number in range(3):
            await log.append([event(f"e{number}")])
        await log.close()

    asyncio.run(send())
    assert len(kept(storage)) == 3
