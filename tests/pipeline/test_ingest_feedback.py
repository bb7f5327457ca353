"""Feedback of the live service is a second source of events: each event is read once, and bad lines do no harm."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from recsys.data.events.feedback import FEEDBACK_COLUMNS, FEEDBACK_DIR
from recsys.pipeline.input_records import IngestedEvents
from recsys.pipeline.inputs import ingest_feedback as feedback
from recsys.pipeline.inputs import input_parts as sources
from recsys.pipeline.inputs.ingest_catalog import ingest_catalog
from recsys.pipeline.inputs.ingest_events import ingest_events
from recsys.pipeline.inputs.input_list import feedback_files
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Done
from recsys.pipeline.stages import INGEST_CATALOG
from recsys.pipeline.start_run import listed_files
from recsys.pipeline.workers.cluster import cluster
from recsys.schema import CATALOG, INTERACTIONS
from recsys.serving.contracts import FeedbackEvent
from recsys.serving.feedback_log import FeedbackLog
from recsys.settings import decode_config
from recsys.storage.tables import read_table, write_table
from tests.records import TIMING

MakeNight = Callable[..., Run]


@pytest.fixture
def make_night(shop: Path, tmp_path: Path) -> MakeNight:
    events = {"path": f"{shop}/events", "format": "csv", "columns": {"event": "event"}}
    inputs = {"events": events, "items": {"path": f"{shop}/items.parquet", "text": "{title}"}}

    def make(**settings: Any) -> Run:
        given = {"storage": str(tmp_path / "warehouse"), "date": "2026-11-22", "inputs": inputs | settings}
        return open_run(decode_config(given))

    return make


@pytest.fixture
def on_ray(ray_cluster: None) -> Iterator[None]:
    with cluster(min_cpus=1):
        yield


def line(event_id: str, user_id: str = "visitor", item_id: str = "i0001", day: int = 22, **values: Any) -> str:
    moment = f"2026-11-{day:02d}T10:00:00+00:00"
    row = dict(zip(FEEDBACK_COLUMNS, (event_id, user_id, item_id, moment, "click", 1.0, ""), strict=True))
    return json.dumps(row | values) + "\n"


def write(tmp_path: Path, name: str, *lines: str) -> None:
    path = tmp_path / "warehouse" / FEEDBACK_DIR / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))


def forget_list(run: Run) -> None:
    """As a refused night does: the next stage that reads lists the files that are there then."""
    run.storage.delete(run.folder.start_path)


def accepted(run: Run, record: IngestedEvents) -> pa.Table:
    table = ds.dataset([run.storage.path(path) for path in record.parts], format="parquet").to_table()
    assert table.schema.remove_metadata() == INTERACTIONS
    return table


def test_feedback_is_read_beside_the_events_each_event_once(
    make_night: MakeNight, on_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_night()
    ingest_catalog(run)
    without = ingest_events(run)
    assert without.feedback == 0
    catalog = read_table(run.storage, run.catalog_path)

    async def tell() -> None:
        log = FeedbackLog(run.storage, "replica")
        at = {"timestamp": "2026-11-22T11:00:00Z"}
        await log.append([FeedbackEvent(event_id=f"s{n}", user_id="visitor", item_id="i0002", **at) for n in range(3)])
        await log.append([FeedbackEvent(event_id="now", user_id="visitor", item_id="i0002")])
        await log.append([FeedbackEvent(event_id="search", user_id="visitor", text="red lamp", **at)])
        await log.close()

    asyncio.run(tell())
    assert feedback_files(run.config, run.date) == []  # begun after its date: they wait for the night of today
    for file in (tmp_path / "warehouse" / FEEDBACK_DIR).iterdir():
        file.rename(file.with_name("20261122T110000Z" + file.name[16:]))
    write(tmp_path, "a.jsonl", line("a", day=21, user_id="later"), line("b", event="b-of-a"))
    write(
        tmp_path,
        "b.jsonl",
        line("a", day=20, user_id="visitor"),
        line("b"),
        line("c", item_id="gone"),
        '{"event_id": "to',
    )
    write(tmp_path, "empty.jsonl")
    write(tmp_path, "torn.jsonl", '{"event_id":"to')
    write(tmp_path, "_aside/old.jsonl", line("old"))

    def record_of(run: Run) -> IngestedEvents:
        forget_list(run)
        assert [Path(file.path).name for file in listed_files(run, "feedback")][-1] == "torn.jsonl"
        write_table(run.storage, run.catalog_path, catalog, CATALOG)
        record = ingest_events(run)
        assert record.rows == without.rows + 12
        assert record.accepted == without.accepted + record.feedback
        assert (record.feedback, record.feedback_repeats) == (5, 2)
        assert (record.later, record.filtered) == (without.later + 1, without.filtered + 1)
        assert record.quarantined == without.quarantined + 3
        assert record.reasons["malformed_row"] == without.reasons.get("malformed_row", 0) + 2
        assert record.kinds == sorted({*without.kinds, "click", "b-of-a", "interaction"})
        found = accepted(run, record)
        rows = found.filter(pc.is_in(found["user_id"], pa.array(["visitor", "later"]))).to_pylist()
        assert sorted((row["user_id"], row["item_id"], row["event"], row["timestamp"].day) for row in rows) == [
            ("visitor", "i0001", "b-of-a", 22),
            ("visitor", "i0001", "click", 20),
            *[("visitor", "i0002", "interaction", 22)] * 3,
        ]
        return record

    record_of(run)
    # a part for each file, and more than one bucket: the same events are kept
    monkeypatch.setattr(feedback, "BUCKET_BYTES", 300)
    plan = sources.plan_reads
    monkeypatch.setattr(sources, "plan_reads", lambda fs, files, form: plan(fs, files, form, 1))
    record = record_of(run)
    assert len([path for path in record.parts if "feedback" in path]) > 1

    without_feedback = make_night(feedback=False)
    ingest_catalog(without_feedback)
    left_out = ingest_events(without_feedback)
    assert left_out.feedback == 0
    assert left_out.rows == without.rows


def test_bad_feedback_is_named_and_never_refuses_a_night(
    make_night: MakeNight, reads_one_by_one: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody may send feedback: only the bad rows of the events count for the limit."""
    rows = [f"u{number},i0001,2026-11-20T10:00:00Z,view" for number in range(10)]
    (tmp_path / "few.csv").write_text("\n".join(["user_id,item_id,timestamp,event", *rows, ""]))
    events = {"path": str(tmp_path / "few.csv"), "format": "csv", "columns": {"event": "event"}}
    run = make_night(events=events)
    write(tmp_path, "torn.jsonl", '{"event_id": ')
    ingest_catalog(run)
    assert ingest_events(run).bad_rate == 0
    assert "feedback" not in caplog.text  # a writer that was killed
    write(tmp_path, "gone.jsonl", *(line(f"e{number}", item_id="gone") for number in range(5)), line("e5"))
    forget_list(run)
    ingest_catalog(run)
    record = ingest_events(run)
    assert (record.accepted, record.feedback, record.reasons) == (11, 1, {"malformed_row": 1, "unknown_item": 5})
    assert (record.quarantined, record.forgiven, record.bad_rate) == (6, 6, 0)
    assert record.rows - record.feedback_rows == 10, "good feedback does not make the events look better"
    assert "feedback: 6 of 7 rows cannot be used and are left out (malformed_row 1, unknown_item 5)" in caplog.text


def test_a_shop_without_events_learns_nothing_from_bad_feedback(
    make_night: MakeNight, reads_one_by_one: None, tmp_path: Path
) -> None:
    run = make_night(events=None)
    write(tmp_path, "gone.jsonl", *(line(f"e{number}", item_id="gone") for number in range(5)))
    run.remember(INGEST_CATALOG, Done(ingest_catalog(run), TIMING))
    record = ingest_events(run)
    assert (record.accepted, record.quarantined, record.bad_rate) == (0, 5, 0)
    write(tmp_path, "returned.jsonl", line("r", event="return"))
    forget_list(run)
    run.remember(INGEST_CATALOG, Done(ingest_catalog(run), TIMING))
    record = ingest_events(run)
    assert (record.accepted, record.kinds, record.non_positive) == (1, [], {"return": 1})


def test_a_night_of_past_days_says_that_newer_feedback_waits(
    make_night: MakeNight, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that starts after midnight finds files of a few hours: these are no cause for a warning."""
    run = make_night()
    soon, later = (run.date + dt.timedelta(days=days) for days in (1, 3))
    write(tmp_path, f"{soon:%Y%m%d}T020000Z-serve-1-0123456789ab-000000.jsonl", line("a"))
    assert feedback_files(run.config, run.date) == []
    assert not caplog.messages
    write(tmp_path, f"{later:%Y%m%d}T020000Z-serve-1-0123456789ab-000000.jsonl", line("b"))
    assert feedback_files(run.config, run.date) == []
    assert [f"more than a day after the end of {run.date} are not read (1)" in text for text in caplog.messages] == [
        True
    ]


def test_what_arrives_after_the_first_start_waits_for_the_next_night(make_night: MakeNight, tmp_path: Path) -> None:
    run = make_night()
    assert feedback_files(run.config, run.date) == []
    assert not (tmp_path / "warehouse").exists()
    write(tmp_path, "empty.jsonl")
    assert feedback_files(run.config, run.date) == []
    write(tmp_path, "a.jsonl", line("a"))
    assert [Path(file.path).name for file in feedback_files(run.config, run.date)] == ["a.jsonl"]
    left_out = make_night(feedback=False)
    assert feedback_files(left_out.config, run.date) == []
    assert make_night().folder == run.folder != left_out.folder


def test_a_restart_reads_the_lines_of_the_first_start(
    make_night: MakeNight, reads_one_by_one: None, tmp_path: Path
) -> None:
    run = make_night()
    write(tmp_path, "a.jsonl", line("a"))
    ingest_catalog(run)
    write(tmp_path, "a.jsonl", line("a"), line("b"), '{"event_id": "to')
    write(tmp_path, "b.jsonl", line("c"))
    first = ingest_events(make_night())
    assert (first.feedback, first.reasons.get("malformed_row", 0)) == (1, 0)
    later = make_night(max_id_chars=255)
    ingest_catalog(later)
    assert ingest_events(later).feedback == 3
