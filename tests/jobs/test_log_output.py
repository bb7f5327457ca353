"""The log of a job: plain lines, lines of JSON, and the live display on a terminal."""

import io
import itertools
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from jobs.live_display import LiveDisplay
from jobs.log_lines import JsonLines, LogLines, Pace
from jobs.log_output import log_output
from recsys.pipeline.stage_progress import StageBegins, StageEnds, StepProgress, tell
from recsys.pipeline.workers.quiet_engine import shows_engine

logger = logging.getLogger("recsys.test_log_output")

STEP = StepProgress(step="merge", share=0.25, seconds=10.0, place="1 of 4 parts", rows_per_s=1500.0)
ENDS = StageEnds(
    stage="ingest", seconds=12.5, rows=14819, rows_per_s=1185.5, peak_memory_mb=651.2, figures={"accepted": 14703}
)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def shown_by(handler: logging.Handler) -> Iterator[None]:
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        handler.close()


def log_a_stage(clock: Clock) -> None:
    tell(logger, StageBegins(stage="ingest"))
    for seconds in range(0, 12, 2):
        clock.now = seconds
        tell(logger, STEP)
    logger.warning("the newest event is old")
    tell(logger, ENDS)
    tell(logger, ENDS)


def test_pauses_between_lines_of_progress_grow() -> None:
    clock = Clock()
    pace = Pace(clock)
    due = []
    for second in range(3600):
        clock.now = float(second)
        if pace.due():
            due.append(second)
    assert due[:5] == [10, 30, 70, 150, 310]
    assert {after - before for before, after in itertools.pairwise(due[5:])} == {300}


def test_plain_lines_are_a_table_of_stages_with_a_line_of_progress_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    with shown_by(LogLines(clock)):
        log_a_stage(clock)
    written = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in capsys.readouterr().err.splitlines()]
    row = "ingest           12.5      14,819        1,186       651  accepted 14,703"
    assert written == [
        "merge: 1 of 4 parts, 1,500 rows/s, about 30 s left",
        "WARNING  the newest event is old",
        "          stage         seconds        rows       rows/s   peak MB  result",
        row,
        row,
    ]


def test_lines_of_json_hold_the_values(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with shown_by(JsonLines(clock)):
        log_a_stage(clock)
        logger.error("it failed", exc_info=ValueError("wrong"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line.get("event") for line in lines] == [
        "stage_begins",
        "progress",
        None,
        "stage_ends",
        "stage_ends",
        None,
    ]
    assert lines[1] | {"level": "info", "share": 0.25, "rows_per_s": 1500.0, "loss": None} == lines[1]
    assert lines[2]["level"] == "warning"
    assert lines[3] | {"stage": "ingest", "seconds": 12.5, "figures": {"accepted": 14703}} == lines[3]
    assert "ValueError: wrong" in lines[5]["traceback"]


def test_a_terminal_shows_finished_stages_and_one_live_line() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=120, color_system=None)
    display = LiveDisplay(console)

    def live() -> str:
        seen = Console(file=io.StringIO(), width=120)
        seen.print(display.running())
        return seen.file.getvalue()  # type: ignore[attr-defined]

    with shown_by(display):
        assert live().strip() == ""
        tell(logger, StageBegins(stage="ingest"))
        assert "ingest" in live()
        tell(logger, STEP)
        assert re.search(r"ingest .* 25%  0 s, about 30 s left\s+merge: 1 of 4 parts, 1,500 rows/s", live())
        logger.error("it failed")
        tell(logger, ENDS)
        assert live().strip() == ""
    assert "ERROR  it failed" in file.getvalue()
    assert "12.5" in file.getvalue()


def test_details_and_the_engine_are_shown_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        with log_output("plain", verbose=verbose):
            logger.debug("weights")
            logging.getLogger("httpx").info("a request")
            assert shows_engine() == verbose
        assert (", weights" in capsys.readouterr().err.replace("  ", ", ")) == verbose


def test_a_job_ends_with_its_json_and_without_a_word_of_libraries(tmp_path: Path) -> None:
    """What is registered for the end of the process is done, and written; DuckDB's binding says nothing."""
    program = """
import atexit, sys
import duckdb
from jobs import command
connection = duckdb.connect()
kept = connection.sql("SELECT 1 AS one")  # the binding complains of what is alive when modules are cleared
atexit.register(print, "registered")
sys.stdout.write("no line break")
command.end_process(lambda: 3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "no line breakregistered\n"


def test_a_job_that_is_interrupted_ends_without_a_traceback() -> None:
    program = """
import os, signal
from jobs import command

def main():
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()

command.end_process(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "interrupted\n")


@pytest.mark.parametrize("ray", [False, True], ids=["alone", "on Ray"])
def test_a_job_answers_sigterm_as_ctrl_c(*, ray: bool) -> None:
    program = f"""
import os, signal
from contextlib import nullcontext
from jobs import command
from recsys.settings import decode_config
items = {{"path": "none", "text": "{{title}}"}}
config = decode_config({{"storage": "none", "inputs": {{"items": items}}}})

def body(arguments):
    with command.on_ray(config) if {ray} else nullcontext():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

command.end_process(lambda: command.run_without_config(body, command.parser("stops")))
"""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    job = [sys.executable, "-c", program, "--config", "none.yaml"]
    done = subprocess.run(job, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (1, "interrupted")
    assert "SIGTERM" not in done.stderr


def test_every_job_ends_its_process_by_that_function() -> None:
    for path in (Path(__file__).parents[2] / "jobs").glob("[a-z]*.py"):
        text = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            assert re.search(r"^    (command\.)?end_process\(main\)$", text, re.MULTILINE), path
