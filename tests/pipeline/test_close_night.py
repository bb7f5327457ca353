"""What fails after the outcome of a night is settled does not change the outcome."""

import datetime as dt
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from recsys.data.events.feedback import FEEDBACK_DIR
from recsys.pipeline.close_night import clean_up, make_up, tidy_feedback, write_metrics_and_report
from recsys.pipeline.inputs.feedback_index import INDEX_PATH
from recsys.pipeline.run import Run
from recsys.storage.atomic import PARTIAL_SUFFIX, partial_file

INPUTS = {"events": {"path": "x"}, "items": {"path": "y", "text": "{title}"}}


def test_metrics_that_cannot_be_written_are_a_warning_and_are_made_up(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], caplog: pytest.LogCaptureFixture
) -> None:
    run = make_night(draw_events(20, 20))
    obstacle = f"{run.folder.metrics_path}/folder/file"
    run.storage.write_bytes(obstacle, b"in the way")
    with caplog.at_level(logging.WARNING):
        failed = write_metrics_and_report(run, {})
    assert "metrics.json" in failed["report_error"]
    assert f"the metrics of {run.folder.run_id} were not written" in caplog.text
    (run.storage.arrow()[0]).delete_dir(run.storage.path(run.folder.metrics_path))
    assert make_up(run, ()) == {"made_up": ["report"]}
    assert run.storage.read_json(run.folder.metrics_path)["run_id"] == run.folder.run_id


def test_what_killed_writers_left_goes_a_day_later_and_locks_stay(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]
) -> None:
    run = make_night(draw_events(20, 20))
    folder = Path(run.storage.path("validated/0123"))
    folder.mkdir(parents=True)
    with partial_file(f"{folder}/fresh.parquet") as fresh, partial_file(f"{folder}/old.parquet") as old:
        lock = folder / f".index.lock{PARTIAL_SUFFIX}"  # as `locked` names it
        foreign = folder / f".rows{PARTIAL_SUFFIX}"
        for file in (fresh, old, lock, foreign):
            file.write_bytes(b"u")
        for file in (old, lock, foreign):
            os.utime(file, (1, 1))
        assert clean_up(run, ()) == {}
        assert {file for file in (fresh, old, lock, foreign) if file.exists()} == {fresh, lock, foreign}


def test_feedback_that_cannot_be_merged_is_a_warning(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], caplog: pytest.LogCaptureFixture
) -> None:
    run = make_night(draw_events(20, 20))
    assert tidy_feedback(run) == {}  # there is no feedback
    assert not run.storage.exists(FEEDBACK_DIR)
    run.storage.write_bytes(INDEX_PATH, b"{")
    with caplog.at_level(logging.WARNING):
        failed = tidy_feedback(run)
    assert "_COMPACTED: is damaged" in failed["feedback_error"]
    assert "the files of feedback were not merged" in caplog.text
    left_out = run.config.model_copy(update={"inputs": run.config.inputs.model_copy(update={"feedback": False})})
    assert tidy_feedback(replace(run, config=left_out)) == {}


def test_a_night_of_a_later_date_forgets_no_day_of_today(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]
) -> None:
    run = make_night(draw_events(20, 20), settings={"inputs": {**INPUTS, "feedback_days": 2}})
    today = dt.datetime.now(dt.UTC).date()
    days = [today - dt.timedelta(days=days) for days in (3, 2, 1)]
    for day in days:
        run.storage.write_bytes(f"{FEEDBACK_DIR}/{day:%Y%m%d}T000000Z-w-000000000000-000000.jsonl", b"{}\n")
    tidy_feedback(replace(run, date=dt.date(2999, 1, 1)))
    assert [name[:8] for name in run.storage.list(FEEDBACK_DIR)] == [f"{days[-1]:%Y%m%d}"]
