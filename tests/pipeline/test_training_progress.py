"""The progress of a training, and the lines of its worker, reach the driver through a file in the storage."""

import logging
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.pipeline.stage_progress import PROGRESS, StepProgress
from recsys.pipeline.training import training_progress
from recsys.pipeline.training.training_progress import ProgressReader, ProgressWriter
from recsys.storage.filesystem import Storage

FILE = "runs/night/train/progress.json"
#: As the code of a worker logs, which is in another process.
worker = logging.getLogger("recsys.pipeline.training.train_worker")


def epoch(number: int) -> StepProgress:
    return StepProgress(step="finetune", share=number / 4, seconds=float(number), place=f"epoch {number}", loss=0.5)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def read(reader: ProgressReader, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(PROGRESS, "recsys"):
        reader.look()
    return caplog.messages


def test_each_look_logs_what_is_new(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = ProgressReader(storage, FILE), ProgressWriter(storage, FILE)
    assert read(reader, caplog) == [], "no worker has begun"
    writer.tell(epoch(1))
    assert read(reader, caplog) == [str(epoch(1))]
    assert read(reader, caplog) == []
    writer.tell(epoch(2))
    assert read(reader, caplog) == [], "the last write was a moment ago"
    with writer.open():
        worker.info("the model is built")
    assert read(reader, caplog) == ["the model is built", str(epoch(2))]
    with writer.open():
        worker.warning("the encoder stays")
    assert read(reader, caplog) == ["the encoder stays"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_worker_that_continues_begins_its_lines_again(
    storage: Storage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ProgressReader(storage, FILE)
    for began in (1.0, 2.0):
        monkeypatch.setattr("time.time", lambda began=began: began)
        with ProgressWriter(storage, FILE).open():
            worker.info("finetune: begins")
        assert read(reader, caplog) == ["finetune: begins"]


def test_a_slow_storage_is_written_less_often(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    writes: list[float] = []

    def write() -> None:
        nonlocal now
        writes.append(now)
        now += 0.5

    monkeypatch.setattr("time.monotonic", lambda: now)
    writer = ProgressWriter(storage, FILE)
    monkeypatch.setattr(writer, "write", write)
    for _ in range(100):
        writer.tell(epoch(1))
        now += 1.0
    assert len(writes) == 4, "a write of 0.5 s is followed by a pause of 25 s"


def test_no_failure_of_the_file_stops_the_training(
    storage: Storage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("no credentials")

    monkeypatch.setattr(Storage, "write_json", refuse)
    with ProgressWriter(storage, FILE).open() as tell:
        tell(epoch(1))
    storage.write_bytes(FILE, b"{}")
    assert read(ProgressReader(storage, FILE), caplog) == []


def test_the_driver_looks_while_the_training_runs_and_once_more_at_its_end(
    storage: Storage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_progress, "INTERVAL_S", 0.001)
    storage.write_bytes(FILE, b"of an earlier start")
    with caplog.at_level(PROGRESS, "recsys"), ProgressReader(storage, FILE).following():
        assert not storage.exists(FILE)
        ProgressWriter(storage, FILE).tell(epoch(1))
    assert str(epoch(1)) in caplog.messages
