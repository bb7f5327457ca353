"""A stage runs once, its record is typed, and what no longer fits is done again."""

import logging
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, get_type_hints

import pyarrow as pa
import pytest

from jobs.nightly import NIGHT
from jobs.plan import places
from recsys.errors import InputError, LockedError
from recsys.pipeline.list_records import WrittenTableFile
from recsys.pipeline.model_records import MatchedColdItems
from recsys.pipeline.run import Run
from recsys.pipeline.run_stages import run_stage, run_stages
from recsys.pipeline.stage import Stage
from recsys.pipeline.stages import CHECK_LISTS, INGEST_USERS, REFIT, RUN_GATE, SHUFFLE_HISTORIES
from recsys.storage.lease import lock
from tests.records import finish

COUNTING: Stage[MatchedColdItems] = Stage(
    name="counting",
    function=f"{__name__}:count",
    record=MatchedColdItems,
    summary="Counts how often it ran.",
    reads=(),
    writes=(),
    workers=lambda _: "driver",
)
calls: list[int] = []


def count(run: Run, step: int = 1) -> MatchedColdItems:
    calls.append(step)
    return MatchedColdItems(rows=10, cold_items=10, cold_in_training=sum(calls))


@pytest.fixture
def run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table]) -> Run:
    calls.clear()
    return make_night(draw_events(100, days=40))


def test_a_stage_runs_once_and_is_measured(run: Run) -> None:
    assert run.done(COUNTING) is None
    first = run_stage(run, COUNTING, step=3)
    assert (first.cold_in_training, run_stage(run, COUNTING, step=4), calls) == (3, first, [3])
    done = run.done(COUNTING)
    assert done is not None
    assert done.record == run.record(COUNTING) == first
    assert first.peak_memory_mb > 10
    assert done.timing.rows_per_s > 10 / (done.timing.seconds + 0.001)
    assert done.timing.cpu_seconds is not None
    assert 0 <= done.timing.cpu_seconds < 60
    assert run.folder.done("counting") == done.as_json()


def test_a_process_that_lost_its_night_begins_no_stage_and_leaves_no_record(run: Run) -> None:
    with lock(run.folder), pytest.raises(LockedError, match="took it over"):
        run_stage(run, replace(COUNTING, function=f"{__name__}:count_too_long"))
    assert (calls, run.done(COUNTING)) == ([1], None)
    with lock(run.folder):
        take_over(run)
        with pytest.raises(LockedError, match="took it over"):
            run_stage(run, COUNTING)
    assert (calls, run.done(COUNTING)) == ([1], None)


def count_too_long(run: Run) -> MatchedColdItems:
    take_over(run)
    return count(run)


def take_over(run: Run) -> None:
    """What another process does that finds no heartbeat of this one."""
    own = len(run.storage.list(f"locks/{run.date}"))
    run.storage.write_json(f"locks/{run.date}/{own + 1:08d}.json", {"pid": 1, "host": "another"})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"cold_in_training": None}, "cold_in_training"),
        ({"cold_in_training": "3"}, "cold_in_training"),
        ({"cold_in_training": 3.5}, "cold_in_training"),
        ({"seconds": "1"}, "seconds"),
    ],
)
def test_a_record_that_does_not_fit_is_made_again(
    run: Run, caplog: pytest.LogCaptureFixture, change: dict[str, object], fault: str
) -> None:
    run_stage(run, COUNTING)
    stored = run.folder.done("counting")
    assert stored is not None
    changed = {key: value for key, value in (stored | change).items() if value is not None}
    run.folder.finish("counting", changed)
    with pytest.raises(InputError, match="another version of the code wrote its stage counting"):
        run.record(COUNTING)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert run_stage(run, COUNTING).cold_in_training == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("counting: its stored record does not fit this version, so it runs again")
    assert fault in line


@pytest.mark.parametrize("content", [b"{", b'{"format_version": 99}', b'{"rows": 1}'], ids=["damaged", "newer", "bare"])
def test_a_finished_stage_whose_part_has_no_record_runs_again(run: Run, content: bytes) -> None:
    stage = replace(COUNTING, part=WrittenTableFile, num_parts=lambda _: 1)
    run.remember_part(stage, "a", WrittenTableFile(name="a.parquet", rows=1, bytes=2, sha256=""))
    run_stage(run, stage)
    run_stage(run, stage)
    assert calls == [1]
    run.storage.write_bytes(run.folder.part_path(stage.name, "a"), content)
    run_stage(run, stage)
    assert calls == [1, 1]


def test_stages_that_do_not_apply_are_left_out(run: Run) -> None:
    run_stages(run, (INGEST_USERS, COUNTING))
    assert run.folder.done("users") is None
    assert calls == [1]


@pytest.mark.parametrize("stage", NIGHT, ids=lambda stage: stage.name)
def test_every_declaration_holds(run: Run, stage: Stage) -> None:
    module, _, name = stage.function.partition(":")
    assert get_type_hints(getattr(import_module(module), name))["return"] is stage.record
    record = finish(run, stage, **({"verdict": "passed"} if stage in (RUN_GATE, CHECK_LISTS) else {}))
    assert run.record(stage) == record
    assert "{" not in " ".join([*places(run, stage.reads), *places(run, stage.writes)])
    assert stage.workers(run.config)


def test_names_are_unique() -> None:
    names = [stage.name for stage in NIGHT]
    assert len(set(names)) == len(names)


#: Fields that the site of the nights shows, and that records of older versions do not have.
NEWER: dict[Stage[Any], tuple[str, ...]] = {
    RUN_GATE: ("segments", "cpu_seconds"),
    REFIT: ("history", "cpu_seconds"),
    CHECK_LISTS: ("concentration", "scores", "overlap", "cpu_seconds"),
}


@pytest.mark.parametrize("stage", NEWER, ids=lambda stage: stage.name)
def test_records_of_older_versions_are_read(run: Run, stage: Stage[Any]) -> None:
    finish(run, stage, **({"verdict": "passed"} if stage is not REFIT else {}))
    stored = run.folder.done(stage.name)
    assert stored is not None
    run.folder.finish(stage.name, {name: value for name, value in stored.items() if name not in NEWER[stage]})
    assert run.done(stage) is not None


def test_nested_records_are_read_as_they_were_written(run: Run) -> None:
    assert run.record(SHUFFLE_HISTORIES).validation.days > 0
