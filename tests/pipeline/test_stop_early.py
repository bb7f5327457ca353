"""A bad input is not read to its end, and one bad file among many good ones stops nothing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import InputError
from recsys.pipeline.input_records import IngestedEvents
from recsys.pipeline.inputs import described_input, ingest_events, stop_early
from recsys.pipeline.inputs import input_parts as sources
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Record, Run
from recsys.settings import decode_config

GOOD, BAD = "u1,i1,2021-01-02\n", "u1,i1,soon\n"


@pytest.fixture(autouse=True)
def read_parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the parts that were read, one after the other; a small input is large enough to stop."""
    read: list[str] = []

    def for_each_part(
        parts: Sequence[str], build: Callable[[], Any], *, until: Callable[[Record], bool], **_: Any
    ) -> list[Record]:
        work, records = build(), []
        for part in parts:
            read.append(part)
            records.append(work(part) | {"peak_memory_mb": 1.0})
            if until(records[-1]):
                break
        return records

    for module in (described_input, ingest_events):
        monkeypatch.setattr(module, "for_each_part", for_each_part)
    monkeypatch.setattr(stop_early, "_LEAST_BYTES", 1)
    monkeypatch.setattr(stop_early, "_LEAST_ROWS", 10)
    plan = sources.plan_reads
    monkeypatch.setattr(sources, "plan_reads", lambda fs, files, form: plan(fs, files, form, 1))  # a part a file
    return read


@pytest.fixture
def make_run(tmp_path: Path, read_parts: list[str]) -> Callable[..., Run]:
    """A run over files of events; its catalog is there."""

    def make(*files: str, **inputs: Any) -> Run:
        (tmp_path / "items.csv").write_text("item_id,title\ni1,Lamp\n")
        (tmp_path / "events").mkdir()
        for number, rows in enumerate(files):
            (tmp_path / "events" / f"{number:02}.csv").write_text("user_id,item_id,timestamp\n" + rows)
        events = {"path": str(tmp_path / "events"), "format": "csv"}
        items = {"path": str(tmp_path / "items.csv"), "format": "csv", "text": "{title}"}
        raw = {"storage": str(tmp_path / "warehouse"), "date": "2021-01-31"}
        run = open_run(decode_config(raw | {"inputs": {"events": events, "items": items} | inputs}))
        ingest_catalog(run)
        read_parts.clear()
        return run

    return make


def refused(run: Run) -> str:
    with pytest.raises(InputError) as caught:
        ingest_events.ingest_events(run)
    return str(caught.value)


def ingested(run: Run) -> IngestedEvents:
    return ingest_events.ingest_events(run)


def test_parts_that_still_wait_are_not_read(make_run, read_parts) -> None:
    """A fifth of the rows is bad: four times the limit of one in twenty."""
    text = refused(make_run(*[BAD * 50] * 20))
    assert read_parts == [f"{number:05}" for number in range(5)]
    assert "250 of 250 rows that were read until this was sure (100.0%) cannot be used" in text
    assert "unreadable_timestamp 250 in 'timestamp': 'soon' (250)" in text


def test_a_part_ends_within_its_file(make_run) -> None:
    text = refused(make_run(BAD * 400_000))
    read = int(text.partition(" of ")[0].rpartition(" ")[2].replace(",", ""))
    assert 80_000 < read < 300_000


def test_one_bad_file_among_many_stops_nothing(make_run, read_parts) -> None:
    found = ingested(make_run(BAD * 200, *[GOOD * 200] * 29))
    assert len(read_parts) == 30
    assert (found.rows, found.quarantined, found.accepted) == (6_000, 200, 5_800)


def test_a_wrong_estimate_refuses_nothing(make_run, read_parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file proves nothing after all: there are more rows than expected."""
    monkeypatch.setattr(stop_early, "estimate_input", lambda *_: 100)
    run = make_run(GOOD * 300 + BAD * 30, *[GOOD * 300] * 4)
    found = ingested(run)
    assert (found.rows, found.quarantined, found.accepted) == (1_530, 30, 1_500)


def test_a_part_of_a_wrong_estimate_is_read_again(make_run, read_parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_early, "estimate_input", lambda *_: 100)
    monkeypatch.setattr(stop_early, "_MARGIN", 1)
    found = ingested(make_run(BAD * 30, *[GOOD * 30] * 29))
    assert read_parts == ["00000", *(f"{number:05}" for number in range(30))]
    assert (found.rows, found.quarantined, found.accepted) == (900, 30, 870)


def test_force_reads_a_bad_input_to_its_end(make_run, caplog: pytest.LogCaptureFixture) -> None:
    found = ingested(replace(make_run(BAD * 300 + GOOD), force=True))
    assert (found.quarantined, found.accepted) == (300, 1)
    assert "--force overrides this limit: inputs.events: 300 of 301 rows" in caplog.text


def test_dates_that_only_the_first_reading_puts_out_of_range_stop_nothing(make_run) -> None:
    """The last date of the input settles that the day comes first, so none is in January 2020."""
    files = ["u1,i1,01/12/2020\n" * 50] * 20 + ["u1,i1,13/12/2020\n"]
    found = ingested(make_run(*files, earliest_date="2020-12-01"))
    assert (found.rows, found.quarantined, found.accepted) == (1_001, 0, 1_001)


def test_times_of_one_reading_that_are_out_of_range_stop_the_night(make_run, read_parts) -> None:
    text = refused(make_run(*["u1,i1,1970-01-01\n" * 50] * 20))
    assert len(read_parts) < 20
    assert "early_timestamp 250 in" in text


def test_a_column_that_no_json_file_has_is_named_instead_of_its_rows(
    make_run: Callable[..., Run], read_parts: list[str], tmp_path: Path
) -> None:
    """A file of JSON may lack any column, so that reading ends because of bad rows."""
    (tmp_path / "json").mkdir()
    row = json.dumps({"user_id": "u1", "item_id": "i1", "timestamp": "2021-01-02"})
    for number in range(20):
        (tmp_path / "json" / f"{number:02}.jsonl").write_text(f"{row}\n" * 100)
    run = make_run(events={"path": str(tmp_path / "json"), "format": "jsonl", "columns": {"user_id": "usr_id"}})
    assert "inputs.events.columns.user_id: column 'usr_id' is not in" in refused(run)
    assert len(read_parts) < 20
