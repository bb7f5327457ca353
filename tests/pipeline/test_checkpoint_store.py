"""Checkpoints of a training in one task: the newest and the best are kept, and one without metrics is not complete."""

from pathlib import Path

import pytest

from recsys.pipeline.training.checkpoint_store import StoredCheckpoints
from recsys.storage.filesystem import Storage


@pytest.fixture
def store(tmp_path: Path) -> StoredCheckpoints:
    return StoredCheckpoints(Storage(str(tmp_path / "warehouse")), "runs/night/train/ranker")


def add(store: StoredCheckpoints, tmp_path: Path, epoch: int, score: float) -> None:
    folder = tmp_path / f"made-{epoch}"
    (folder / "encoder").mkdir(parents=True)
    (folder / "state").write_text(str(epoch))
    (folder / "encoder" / "weights").write_text(str(epoch))
    store.add(folder, {"epoch": epoch, "score": score})


def test_the_newest_and_the_best_are_kept(store: StoredCheckpoints, tmp_path: Path) -> None:
    assert store.last() is None
    for epoch, score in enumerate((0.1, 0.3, 0.2, 0.3, 0.1), start=1):
        add(store, tmp_path, epoch, score)
        assert store.last_metrics() == {"epoch": epoch, "score": score}
    best = store.best()
    assert best.metrics["epoch"] == 2, "the first of equal scores"
    with best.folder as folder:
        assert (Path(folder) / "state").read_text() == (Path(folder) / "encoder" / "weights").read_text() == "2"
    last = store.last()
    assert last is not None
    with last as folder:
        assert (Path(folder) / "state").read_text() == "5"
    kept = {name.split("/")[0] for name in store.storage.list(store.path, recursive=True)}
    assert kept == {"epoch-00002", "epoch-00005"}


def test_an_upload_that_was_cut_off_is_not_the_last(store: StoredCheckpoints, tmp_path: Path) -> None:
    add(store, tmp_path, 1, 0.5)
    store.storage.upload_folder(tmp_path / "made-1", f"{store.path}/epoch-00002")  # the metrics come last
    assert store.last_metrics()["epoch"] == store.best().metrics["epoch"] == 1
    add(store, tmp_path, 2, 0.4)
    assert (store.last_metrics()["epoch"], store.best().metrics["epoch"]) == (2, 1)
