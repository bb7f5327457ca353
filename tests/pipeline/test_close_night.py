"""What fails after the outcome of a night is settled does not change the outcome."""

import logging
from collections.abc import Callable

import pyarrow as pa
import pytest

from recsys.pipeline.close_night import make_up, write_metrics_and_report
from recsys.pipeline.run import Run


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
