"""A run that cannot answer never replaces the loaded snapshot."""

import datetime as dt
from dataclasses import replace

from recsys.errors import InputError
from recsys.serving.snapshot_reload import SnapshotReloader
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, Latest, read_latest
from tests.serving.conftest import HeldSnapshot


class BrokenSnapshot(HeldSnapshot):
    def answer(self, *_):
        raise KeyError("a file is gone")


def test_a_run_that_cannot_answer_is_not_loaded(live, one_night):
    storage, loads = Storage(str(one_night[0])), [BrokenSnapshot(live), BrokenSnapshot(live), live]
    snapshots = SnapshotReloader(storage, lambda *_: loads.pop(0))
    for attempt in (1, 2):
        assert not snapshots.refresh()
        assert (snapshots.current, snapshots.num_failures) == (None, attempt)
        assert snapshots.error == "KeyError: 'a file is gone'"
    assert not snapshots.refresh(), "the third look does not try it"
    assert snapshots.refresh()
    assert (snapshots.current, snapshots.error, snapshots.num_failures) == (live, None, 0), "the alert ends"
    assert snapshots.current.latest == read_latest(storage)
    assert not snapshots.refresh(), "the same run is not loaded again"
    assert loads == []


def test_a_run_that_cannot_be_loaded_is_read_ever_more_rarely_and_another_one_at_once(tmp_path, caplog):
    storage, tried = Storage(str(tmp_path)), []
    night = Latest(
        run_id="2026-11-22-a",
        run_date=dt.date(2026, 11, 22),
        path="recommendations/a",
        model_id="m",
        published_at="2026-11-23T01:00:00+00:00",
        manifest_sha256="0",
    )

    def load(_, latest):
        tried.append(latest.run_id)
        raise InputError("damaged")

    snapshots = SnapshotReloader(storage, load)

    def is_tried() -> bool:
        before = len(tried)
        assert not snapshots.refresh()
        return len(tried) > before

    storage.write_bytes(LATEST, night.to_bytes())
    assert [look for look in range(1, 50) if is_tried()] == [1, 2, 4, 8, 16, 32, 48]
    assert [record.message for record in caplog.records] == [
        "the newest published run cannot be loaded: InputError: damaged"
    ]
    storage.write_bytes(LATEST, b"{")
    assert not is_tried()
    assert "LATEST.json" in snapshots.error
    storage.write_bytes(LATEST, night.to_bytes())
    assert is_tried(), "the fault of the pointer is over"
    assert snapshots.error == "InputError: damaged"
    storage.write_bytes(LATEST, replace(night, run_id="2026-11-22-b").to_bytes())
    assert is_tried()
    assert tried[-1] == "2026-11-22-b"
    assert [is_tried() for _ in range(2)] == [True, False]
    storage.write_bytes(
        LATEST, replace(night, run_id="2026-11-22-b", published_at="2026-11-23T02:00:00+00:00").to_bytes()
    )
    assert is_tried(), "it was published again"


def test_a_run_that_comes_back_after_the_loaded_one_is_tried_at_once(live, one_night, tmp_path):
    good = Storage(str(one_night[0])).read_bytes(LATEST)
    storage, tried = Storage(str(tmp_path)), []

    def load(_, latest):
        tried.append(latest.run_id)
        if latest.run_id == "2026-11-22-bad":
            raise InputError("damaged")
        return live

    snapshots = SnapshotReloader(storage, load)
    storage.write_bytes(LATEST, good)
    assert snapshots.refresh()
    bad = replace(read_latest(storage), run_id="2026-11-22-bad").to_bytes()
    for pointer in (bad, bad, bad, good, bad):
        storage.write_bytes(LATEST, pointer)
        assert not snapshots.refresh()
        assert (snapshots.error is None) == (pointer == good)
    assert tried[1:] == ["2026-11-22-bad"] * 3, "the first two times, and after the loaded one"
