"""Progress of the parts of a stage, and the warnings of their workers."""

import logging

import pytest

from recsys.pipeline.stage_progress import PROGRESS, StepProgress
from recsys.pipeline.workers.parts_progress import PartsProgress


def test_progress_is_told_every_second(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = PartsProgress("ingest", 4)
    with caplog.at_level(PROGRESS, "recsys"):
        for second in range(6):
            now = second / 2
            progress.tell({number: {"rows": 50} for number in range(second)})
    told = [record.told for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [
        StepProgress(step="ingest", share=0.5, seconds=1.0, place="2 of 4 parts", rows_per_s=100.0),
        StepProgress(step="ingest", share=1.0, seconds=2.0, place="4 of 4 parts", rows_per_s=100.0),
    ]


def test_what_several_workers_warn_of_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    progress = PartsProgress("ingest", 2)
    line = [logging.WARNING, "recsys.data.files.find_files", "a file is left out"]
    with caplog.at_level(logging.INFO, "recsys"):
        for lines in ([line, line], [line, [logging.WARNING, "recsys.data.files.find_files", "another one"]]):
            progress.log_once(lines)
    assert caplog.messages == ["a file is left out", "another one"]
