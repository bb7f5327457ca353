"""A run that cannot answer never replaces the loaded snapshot."""

from recsys.serving.snapshot_reload import SnapshotReloader
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest
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
    assert snapshots.refresh()
    assert (snapshots.current, snapshots.error, snapshots.num_failures) == (live, None, 0), "the alert ends"
    assert snapshots.current.latest == read_latest(storage)
    assert not snapshots.refresh(), "the same run is not loaded again"
    assert loads == []
