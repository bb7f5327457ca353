"""Small files of feedback become few. Each event is read once, before, between and after all steps."""

import datetime as dt
import itertools
import logging
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recsys.data.events.feedback import FEEDBACK_DIR
from recsys.data.events.feedback_names import compact_day, file_day, stored_day
from recsys.errors import InputError, NewerFormatError
from recsys.pipeline.inputs import compact_feedback as compaction
from recsys.pipeline.inputs.compact_feedback import Compaction, compact_feedback
from recsys.pipeline.inputs.feedback_index import INDEX_PATH, SOURCES_DIR, read_index
from recsys.storage.append_log import AppendLog
from recsys.storage.filesystem import Storage
from tests.pipeline.feedback_files import (
    DAY,
    assert_once,
    at,
    line,
    list_inputs,
    make_config,
    read_users,
    store,
    stored_name,
)
from tests.pipeline.interruptions import Interrupted, raise_interrupted, stopped_at

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path / "warehouse"))
    bucket = f"feedback-{uuid.uuid4().hex}"
    request.getfixturevalue("s3_client").create_bucket(Bucket=bucket)
    return Storage(f"s3://{bucket}/a warehouse [1]")


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "warehouse"))


@pytest.fixture(autouse=True)
def _few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LEAST_FILES", 4)


def compact(storage: Storage, now: dt.datetime, first_day: dt.date = dt.date.min) -> Compaction:
    return compact_feedback(storage, first_day, lambda: now)


def names(storage: Storage) -> tuple[list[str], list[str]]:
    """Files of the service, and compact files."""
    found = storage.list(FEEDBACK_DIR)
    return [name for name in found if stored_day(name)], [name for name in found if compact_day(name)]


def fill(storage: Storage, num: int = 5, day: int = 0, first: int = 0) -> list[int]:
    """So many files of a day, with two events each; returns the numbers of the events."""
    for number in range(first, first + num):
        store(storage, stored_name(number, day), line(2 * number, day=day), line(2 * number + 1, day=day))
    return list(range(2 * first, 2 * (first + num)))


def test_a_day_that_is_over_becomes_one_file_and_its_sources_go_later(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(storage.root, tmp_path / "shop")
    events = fill(storage)
    store(storage, "by-hand.jsonl", line(100))
    store(storage, "below/20261120T000000Z-w-000000000000-000000.jsonl", line(101))
    fill(storage, day=1, first=200)
    events += [100, 101]
    before = read_users(config, list_inputs(config))
    assert compact(storage, at(1, 1.2)) == Compaction()  # a late clock may still write
    assert compact(storage, at(1, 1.3)) == Compaction(merged=5, written=1)
    assert [len(each) for each in names(storage)] == [10, 1]
    assert read_users(config, list_inputs(config)) == before
    (listed,) = [each for each in list_inputs(config)["feedback"] if compact_day(each.file.path)]
    assert listed.file.size == storage.sizes(FEEDBACK_DIR)[listed.file.path]
    assert compact(storage, at(1, 13)) == Compaction()  # who listed the sources may be reading them
    assert compact(storage, at(1, 13.4)) == Compaction(deleted=5)
    assert [len(each) for each in names(storage)] == [5, 1]
    assert read_users(config, list_inputs(config)) == before
    assert_once(config, events)
    assert compact(storage, at(1, 14)) == Compaction()
    assert "left out" not in caplog.text  # listings pass over the index and the tables of sources


def test_few_files_are_left_as_they_are_and_torn_lines_go(local: Storage, tmp_path: Path) -> None:
    config = make_config(local.root, tmp_path / "shop")
    fill(local, 3)
    assert compact(local, at(2)) == Compaction()
    store(local, stored_name(3), line(6), '{"event_id": "to')
    store(local, stored_name(4), line(7).rstrip("\n"))  # whole, but without a line break
    store(local, stored_name(5), '{"event_id": "to')
    store(local, stored_name(6))
    assert compact(local, at(2)) == Compaction(merged=6, written=1)
    assert_once(config, range(8))
    assert compact(local, at(3)) == Compaction(deleted=6)
    assert_once(config, range(8))
    assert names(local)[0] == [stored_name(6)]


def test_only_torn_lines_give_no_file(local: Storage) -> None:
    for number in range(9):
        store(local, stored_name(number), '{"event_id": "to')
    assert compact(local, at(2)) == Compaction()
    assert len(names(local)[0]) == 9


def test_large_days_become_several_files_and_years_take_several_nights(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(local.root, tmp_path / "shop")
    fill(local, 9)
    fill(local, 9, day=-1, first=9)
    before = read_users(config, list_inputs(config))
    monkeypatch.setattr(compaction, "TEXT_BYTES", 1000)
    monkeypatch.setattr(compaction, "MOST_FILES", 9)
    clock = (at(2, hours) for hours in itertools.count())  # names have seconds
    assert compact_feedback(local, clock=lambda: next(clock)) == Compaction(merged=9, written=3)  # the oldest day
    assert compact(local, at(5)) == Compaction(merged=9, written=3, deleted=9)
    assert compact(local, at(6)) == Compaction(deleted=9)
    assert len(names(local)[1]) == 6
    assert sorted(read_users(config, list_inputs(config))) == sorted(before)


def test_a_file_that_comes_late_or_comes_back_counts_once(storage: Storage, tmp_path: Path) -> None:
    config = make_config(storage.root, tmp_path / "shop")
    events = fill(storage)
    returning = storage.read_bytes(f"{FEEDBACK_DIR}/{stored_name(3)}")
    compact(storage, at(2))
    compact(storage, at(3))
    store(storage, stored_name(3), returning.decode())  # the network held up one more try of the request
    events += fill(storage, 4, first=5)
    assert_once(config, events)
    assert compact(storage, at(4)) == Compaction(merged=4, written=1, deleted=1)
    assert_once(config, events)
    assert compact(storage, at(5)) == Compaction(deleted=4)
    assert_once(config, events)


@pytest.mark.parametrize("cut", [None, 1, -20], ids=["as it is", "before its second line", "within a line"])
def test_an_unfinished_night_reads_what_it_listed(local: Storage, tmp_path: Path, cut: int | None) -> None:
    config = make_config(local.root, tmp_path / "shop")
    fill(local)
    last = local.read_bytes(f"{FEEDBACK_DIR}/{stored_name(4)}").decode()
    store(local, stored_name(4), last[: last.index("\n") + 1] if cut == 1 else last[:cut])
    listed = list_inputs(config)
    expected = read_users(config, listed)
    store(local, stored_name(4), last)
    fill(local, 3, first=5)  # files that the night did not list are merged with those that it did
    assert read_users(config, listed) == expected
    compact(local, at(2))
    assert read_users(config, listed) == expected
    compact(local, at(3))
    assert read_users(config, listed) == expected
    store(local, stored_name(0), line(0), line(1))  # a deletion that was killed
    assert sorted(read_users(config, listed)) == sorted(expected)
    assert_once(config, range(16))


def test_days_that_are_too_old_are_not_read_and_go_whole(storage: Storage, tmp_path: Path) -> None:
    config = make_config(storage.root, tmp_path / "shop", feedback_days=2)
    for day in range(4):
        fill(storage, day=day, first=10 * day)
    store(storage, "by-hand.jsonl", line(1000))
    numbers = [*range(40, 50), *range(60, 70), 1000]
    assert_once(config, numbers, day=3)
    compact(storage, at(1, 2))  # day 0
    assert_once(config, numbers, day=3)
    assert compact(storage, at(4, 2), DAY + dt.timedelta(days=2)) == Compaction(merged=10, written=2, forgotten=11)
    assert_once(config, numbers, day=3)
    found = [file_day(name) or dt.date.max for name in storage.list(FEEDBACK_DIR)]
    assert min(found) == DAY + dt.timedelta(days=2)
    assert len(storage.list(SOURCES_DIR)) == len(read_index(storage)[0].files) == 2
    assert_once(make_config(storage.root, tmp_path / "shop"), numbers, day=3)  # what is gone is gone


def test_a_file_that_its_writer_holds_open_is_left_alone(local: Storage) -> None:
    now = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    logs = [AppendLog(local, FEEDBACK_DIR, "w") for _ in range(5)]
    for number, log in enumerate(logs):
        log.append(line(number).encode())
    assert compact(local, now) == Compaction()
    logs[0].close()
    assert compact(local, now, now.date()) == Compaction(forgotten=1)
    for log in logs[1:]:
        log.append(line(100).encode())  # the writer was stopped for two days
        log.close()
    assert compact(local, now) == Compaction(merged=4, written=1)


def test_it_may_be_interrupted_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LEAST_FILES", 2)
    monkeypatch.setattr(compaction, "TEXT_BYTES", 800)  # two files
    num_stops = 0
    for step in itertools.count():
        storage = Storage(str(tmp_path / f"warehouse-{step}"))
        config = make_config(storage.root, tmp_path / "shop")
        events = fill(storage)
        listed = [list_inputs(config)]
        stops = 0
        for now in (at(2), at(3)):
            try:
                with stopped_at(step, raise_interrupted):
                    compact(storage, now)
            except Interrupted:
                stops += 1
            assert_once(config, events)
            listed.append(list_inputs(config))
            assert [len(read_users(config, inputs)) for inputs in listed] == [len(events)] * len(listed)
        for now in (at(4), at(5), at(6)):
            compact(storage, now)
            assert_once(config, events)
        stored, compacted = names(storage)
        assert len(stored) < 2
        assert len(compacted) == len(storage.list(SOURCES_DIR)) == len(read_index(storage)[0].files)
        if not stops:
            break
        num_stops += stops
    assert num_stops > 30


KILLED = """
    import os, signal, sys
    from recsys.storage.filesystem import Storage
    from recsys.pipeline.inputs import compact_feedback as compaction
    from tests.pipeline.feedback_files import at
    from tests.pipeline.interruptions import stopped_at

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    compaction.LEAST_FILES = 2
    for step in range(40):
        child = os.fork()
        if not child:
            with stopped_at(step, kill):
                for now in (at(2), at(3)):
                    compaction.compact_feedback(Storage(f"{sys.argv[1]}/{step}"), clock=lambda now=now: now)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, flush=True)
        if code == 0:
            break
"""


def test_it_may_be_killed_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LEAST_FILES", 2)
    for step in range(40):
        fill(Storage(f"{tmp_path}/{step}"), 2)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    codes = [int(code) for code in done.stdout.split()]
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
    assert len(codes) > 12
    for step in range(len(codes)):
        storage = Storage(f"{tmp_path}/{step}")
        config = make_config(storage.root, tmp_path / "shop")
        assert_once(config, range(4))
        for now in (at(4), at(5), at(6)):
            compact(storage, now)
        assert_once(config, range(4))
        assert [len(each) for each in names(storage)] == [0, 1]


def test_of_two_at_a_time_one_wins_at_every_step(storage: Storage, tmp_path: Path) -> None:
    """The second compaction runs whole before a step of the first."""
    for step in (0, 2, 4, 6, 8) if storage.is_local else (6,):  # 6: before the index names the file
        own = Storage(f"{storage.root}/{step}")
        config = make_config(own.root, tmp_path / "shop")
        fill(own)
        for now in (at(2), at(3)):
            with stopped_at(step, _once(partial(compact, own, now))):
                compact(own, now)
            assert_once(config, range(10))
        compact(own, at(5))
        assert_once(config, range(10))
        assert [len(each) for each in names(own)] == [0, 1]


def test_a_change_whose_answer_is_lost_is_kept(local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(local.root, tmp_path / "shop")
    fill(local)
    swap = Storage.swap_bytes

    def lose(self: Storage, path: str, data: bytes, expected: bytes | None) -> bool:
        assert swap(self, path, data, expected)
        if expected is not None:  # and then another process makes a change
            stored = self.read_bytes(path)
            assert swap(self, path, stored.replace(b'"changes": 2', b'"changes": 3'), stored)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "swap_bytes", lose)
        assert compact(local, at(2)) == Compaction()
    assert len(read_index(local)[0].files) == len(names(local)[1]) == 1
    assert_once(config, range(10))
    assert compact(local, at(3)) == Compaction(deleted=5)


def test_a_table_of_sources_that_is_gone_is_named(local: Storage, tmp_path: Path) -> None:
    config = make_config(local.root, tmp_path / "shop")
    fill(local)
    compact(local, at(2))
    local.delete(f"{SOURCES_DIR}/{local.list(SOURCES_DIR)[0]}")
    with pytest.raises(InputError, match=r"_sources/.*parquet: is damaged or gone, and says which files .* restore it"):
        list_inputs(config)


def _once(work: Callable[[], Any]) -> Callable[[], None]:
    begun: list[bool] = []

    def run() -> None:
        if not begun:
            begun.append(True)
            work()

    return run


def test_a_compact_file_that_is_damaged_is_named_before_its_sources_go(local: Storage, tmp_path: Path) -> None:
    config = make_config(local.root, tmp_path / "shop")
    fill(local)
    compact(local, at(2))
    ((name,), path) = names(local)[1], f"{FEEDBACK_DIR}/{names(local)[1][0]}"
    whole = local.read_bytes(path)
    local.write_bytes(path, whole[:-9])
    with pytest.raises(InputError, match=rf"{name}: is damaged .* take it out of .*_COMPACTED while its 5 sources"):
        compact(local, at(3))
    assert len(names(local)[0]) == 5
    local.delete(path)
    with pytest.raises(InputError, match=f"{name}: is gone, and held the feedback of 2026-11-20"):
        list_inputs(config)
    local.write_bytes(path, whole)
    assert compact(local, at(3)) == Compaction(deleted=5)
    assert_once(config, range(10))


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, InputError, "is gone, and says which of the compact files"),
        (b"{", InputError, "is damaged"),
        (b"[]", InputError, "is damaged"),
        (
            b'{"files": [{"name": "../x", "sources": 1, "bytes": 1, "sha256": "", "committed_at": ""}]}',
            InputError,
            "is damaged .*is no name of a compact file",
        ),
        (b'{"format_version": 2}', NewerFormatError, "this index of compact feedback has format version 2"),
    ],
)
def test_without_its_index_nothing_is_guessed(
    local: Storage, tmp_path: Path, content: bytes | None, error: type[Exception], said: str
) -> None:
    config = make_config(local.root, tmp_path / "shop")
    fill(local)
    compact(local, at(2))
    index = local.read_bytes(INDEX_PATH)
    local.delete(INDEX_PATH)
    if content is not None:
        local.write_bytes(INDEX_PATH, content)
    for work in (lambda: list_inputs(config), lambda: compact(local, at(9))):
        with pytest.raises(error, match=f"_COMPACTED: {said}"):
            work()
    local.write_bytes(INDEX_PATH, index)
    assert_once(config, range(10))


def test_an_old_copy_of_the_index_deletes_nothing(local: Storage, caplog: pytest.LogCaptureFixture) -> None:
    fill(local)
    fill(local, day=1, first=5)
    compact(local, at(1, 12))
    old = local.read_bytes(INDEX_PATH)
    compact(local, at(3))
    compact(local, at(4))
    assert [len(each) for each in names(local)] == [0, 2]
    local.write_bytes(INDEX_PATH, old)
    with caplog.at_level(logging.WARNING):
        compact(local, at(9))
    assert "does not count, and what it holds is nowhere else" in caplog.text
    assert [len(each) for each in names(local)] == [0, 2]
