"""The report of a run: its page, the index over the stored summaries, and the same page in the run's folder."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.pipeline.close_night import write_metrics_and_report
from recsys.pipeline.publishing.write_report import has_report, read_summaries, write_report
from recsys.pipeline.run import Run
from recsys.pipeline.stages import RUN_GATE
from recsys.storage.runs import RunFolder
from recsys.storage.site import INDEX, STYLE, SUMMARIES, night_page
from tests.report.made_up_nights import GATE, STAGES, pruned

BEFORE = "2026-11-21-0123456789ab"


@pytest.fixture
def run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]) -> Run:
    """A night of which only the first stages ran."""
    return make_night(draw_events(20, 20))


def test_a_night_has_a_page_and_a_place_in_the_index(run: Run) -> None:
    write_report(run)
    page, index = (run.storage.read_bytes(path).decode() for path in (night_page(run.folder.run_id), INDEX))
    assert "<h1>Night of 2026-11-22</h1>" in page
    assert f'href="nights/{run.folder.run_id}.html"' in index
    assert run.storage.exists(STYLE)
    alone = run.storage.read_bytes(run.folder.report_path).decode()
    assert alone.partition("<body>")[2].replace("../../site/index.html", "../index.html") == page.partition("<body>")[2]


def test_the_night_before_is_compared(run: Run) -> None:
    before = replace(run, folder=RunFolder(run.storage, BEFORE))
    run.folder.write_config(run.config.to_yaml())
    before.folder.write_config(run.config.model_copy(update={"seed": 7}).to_yaml())
    published = {"run_id": BEFORE, "verdict": "passed", "finished_at": "2026-11-21T03:00:00+00:00"}
    run.storage.write_json(f"{SUMMARIES}/{BEFORE}.json", published)
    write_report(run)
    page = run.storage.read_bytes(night_page(run.folder.run_id)).decode()
    assert '<th scope="row">seed</th><td>7</td><td>0</td>' in page
    index = run.storage.read_bytes(INDEX).decode()
    assert BEFORE[11:] in index  # its figures stay when retention deletes its page
    assert f'href="nights/{run.folder.run_id}.html"' in index
    assert f'href="nights/{BEFORE}.html"' not in index
    run.storage.write_bytes(night_page(BEFORE), b"page")
    write_report(run)
    assert f'href="nights/{BEFORE}.html"' in run.storage.read_bytes(INDEX).decode()


def test_a_night_that_failed_after_its_gate_is_not_called_passed(run: Run) -> None:
    gate = STAGES["gate"] | {"details": GATE, "verdict": "passed", "reason": "good", "compared_with": "none"}
    timing = {"started_at": "2026-11-22T03:00:00+00:00", "finished_at": "2026-11-22T03:00:02+00:00"}
    run.folder.finish("gate", gate | timing)
    assert run.done(RUN_GATE) is not None
    write_report(run)
    page, index = (run.storage.read_bytes(path).decode() for path in (night_page(run.folder.run_id), INDEX))
    assert "Ended before its lists were published" in page
    assert ">not published</span>" in index
    assert not has_report(run), "another start that publishes the night makes its report"
    next_night = replace(run, folder=RunFolder(run.storage, "2026-11-23-0123456789ab"))
    write_report(next_night)
    page = run.storage.read_bytes(night_page(next_night.folder.run_id)).decode()
    assert "There is no night before to compare with." in page


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"run_id": "../x"}', b"\xff"])
def test_a_damaged_summary_is_left_out(run: Run, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    run.storage.write_bytes(f"{SUMMARIES}/{BEFORE}.json", damage)
    with caplog.at_level(logging.WARNING):
        assert read_summaries(run.storage) == []
    assert f"{BEFORE}.json is damaged" in caplog.text
    write_report(run)


def test_a_page_that_cannot_be_written_is_a_reason(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.storage.write_bytes(f"{night_page(run.folder.run_id)}/file", b"in the way")
    with caplog.at_level(logging.WARNING):
        failed = write_metrics_and_report(run, {})
    assert night_page(run.folder.run_id) in failed["report_error"]
    assert f"the report of {run.folder.run_id} was not written" in caplog.text
    assert not run.storage.exists(run.folder.report_path), "it is written last: a second start makes up for the pages"


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=False))
def test_a_report_is_made_whatever_the_stored_records_lack(run: Run, random: Random) -> None:
    for stage, record in STAGES.items():
        stored = pruned(record | {"details": GATE}, random)
        run.storage.write_bytes(run.folder.stage_path(stage), json.dumps(stored).encode())
    write_report(run)
