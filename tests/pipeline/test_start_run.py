"""One night has one identity: its date and settings name it, and its first start settles what it reads."""

import datetime as dt
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.events.feedback import FEEDBACK_DIR
from recsys.errors import ConfigError, InputError, LockedError
from recsys.model import default_encoder
from recsys.pipeline.inputs.input_list import InputName
from recsys.pipeline.inputs.input_parts import plan_parts, read_part
from recsys.pipeline.inputs.item_rules import recommendable
from recsys.pipeline.open_run import open_run, stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.pipeline.stages import FINETUNE, INGEST_CATALOG, INGEST_EVENTS, PUBLISH_LISTS, RUN_GATE
from recsys.pipeline.start_run import listed_files, read_start, started_run
from recsys.schema import CATALOG
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.lease import lock
from recsys.storage.manifest import write_manifest
from recsys.storage.publish import deletion_mark, last_published, publish, published
from tests.records import finish

Open = Callable[..., Run]
TODAY = dt.datetime.now(dt.UTC).date()
STAGES = (INGEST_CATALOG, INGEST_EVENTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three events in two files, and two items."""
    data = tmp_path / "data"
    (data / "events").mkdir(parents=True)
    (data / "events" / "a.csv").write_text("user_id,item_id,timestamp\nu,i,2026-11-20\nv,i,2026-11-21T23:59:59\n")
    (data / "events" / "b.csv").write_text("user_id,item_id,timestamp\nw,j,2026-11-21\n")
    pq.write_table(pa.table({"item_id": ["i", "j"], "title": ["Lamp", "Vase"]}), data / "items.parquet")
    return data


@pytest.fixture
def open_night(folder: Path, tmp_path: Path) -> Open:
    def make(protocol: Any = "time", **settings: Any) -> Run:
        events = {"path": str(folder / "events"), "format": "csv", **settings.pop("events", {})}
        items = {"path": str(folder / "items.parquet"), "text": "{title}"}
        given = {"storage": str(tmp_path / "warehouse"), "date": "2026-11-22", **settings}
        return open_run(decode_config({**given, "inputs": {"events": events, "items": items}}), protocol)

    return make


def start(run: Run, *, force: bool = False, own_lock: bool = False, publishes: bool = False) -> Run:
    stages = (*STAGES, PUBLISH_LISTS) if publishes else STAGES
    with started_run(replace(run, force=force), stages, own_lock=own_lock) as (started, _):
        return started


def stop(run: Run, error: Exception, *finished: Stage[Any]) -> Run:
    """Start a run that ends with an error after these stages."""
    with pytest.raises(type(error)):
        _stop(run, error, finished)
    return run


def _stop(run: Run, error: Exception, finished: tuple[Stage[Any], ...]) -> None:
    with started_run(run, STAGES) as (started, _):
        for stage in finished:
            finish(started, stage)
        bad = f"{started.folder.quarantine_dir}/events-00000-000.parquet"
        started.storage.write_bytes(bad, b"bad rows")
        raise error


def tell(run: Run, name: str, text: str = "{}\n") -> None:
    run.storage.write_bytes(f"{FEEDBACK_DIR}/{name}", text.encode())


def names(run: Run, name: InputName) -> list[str]:
    return [Path(file.path).name for file in listed_files(run, name)]


def users(run: Run) -> list[str]:
    source = run.config.inputs.events
    tasks = plan_parts(source, listed_files(run, "events"))
    return [
        user
        for task in tasks.values()
        for _, rows, _ in read_part(source, task)
        for user in rows["user_id"].to_pylist()
    ]


def publish_run(run: Run) -> None:
    """Publish a run without lists."""
    assert publish(run.folder, write_manifest(run.folder, [], {"model_id": run.model_id}), run.model_id)


def test_a_day_gives_one_id_however_it_is_named(open_night: Open, folder: Path) -> None:
    yesterday = TODAY - dt.timedelta(days=1)
    (folder / "events" / "c.csv").write_text(
        f"user_id,item_id,timestamp\nu,i,{yesterday}T12:00:00\nu,i,2999-01-01\nu,i,yesterday\n"
    )
    ids = {word: open_night(date=word).folder.run_id for word in (None, "today", "yesterday", "newest")}
    assert ids[None] == ids["today"] == open_night(date=TODAY.isoformat()).folder.run_id
    assert ids["yesterday"] == ids["newest"] == open_night(date=yesterday).folder.run_id != ids["today"]
    assert open_night(date="newest").config.date == yesterday  # it is stored with the run as a day
    assert open_night(seed=1).folder.run_id != open_night().folder.run_id
    assert open_night("leave-one-out").folder.run_id != open_night().folder.run_id


@pytest.mark.parametrize(
    ("events", "date"),
    [
        ({}, "2026-11-21"),
        ({"where": "user_id = 'u'"}, "2026-11-20"),
        ({"timezone": "America/New_York"}, "2026-11-22"),  # 23:59 there
    ],
)
def test_the_newest_day_is_that_of_the_events_which_the_night_can_use(
    open_night: Open, events: dict[str, Any], date: str
) -> None:
    assert open_night(date="newest", events=events).date.isoformat() == date


def test_the_newest_day_of_parquet_files_is_read_too(open_night: Open, folder: Path) -> None:
    times = [dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (3, 9, 5)]
    for number, time in enumerate(times):
        pq.write_table(pa.table({"user_id": ["u"], "timestamp": [time]}), folder / "events" / f"{number}.parquet")
    assert open_night(date="newest", events={"format": "parquet"}).date.isoformat() == "2026-11-09"


def test_the_newest_day_is_not_that_of_a_line_that_is_still_written(open_night: Open, folder: Path) -> None:
    path = folder / "events" / "b.csv"
    path.write_text("user_id,timestamp,item_id\nw,2026-11-21,j\nu2,2026-11-23,12")
    assert open_night(date="newest").date.isoformat() == "2026-11-21"
    os.utime(path, (1, 1))
    assert open_night(date="newest").date.isoformat() == "2026-11-23"


def test_without_any_date_newest_says_what_to_do(open_night: Open, folder: Path) -> None:
    for file in (folder / "events").iterdir():
        file.write_text("user_id,item_id,timestamp\nu,i,soon\n")
    with pytest.raises(InputError, match=r"date newest: no row of inputs\.events .* has a timestamp .* or give a date"):
        open_night(date="newest")
    for number, file in enumerate(sorted((folder / "events").iterdir())):
        file.write_text(f"user_id,item_id,timestamp\nu,i,10/{number + 24}/26\n")
    fitting = r"such as '10/24/26', '10/25/26': set inputs\.events\.timestamp_format to '%m/%d/%y'$"
    with pytest.raises(InputError, match=fitting):
        open_night(date="newest")


def test_a_column_that_no_json_file_has_is_why_there_is_no_newest_day(open_night: Open, folder: Path) -> None:
    for name, row in {"a.jsonl": '{"user_id": "u", "timestamp": "2026-11-20"}', "b.jsonl": '{"user_id": "v"}'}.items():
        (folder / "events" / name).write_text(row + "\n")
    events = {"format": "jsonl", "where": "kind is null or user_id = 'u'"}
    assert open_night(date="newest", events=events).date.isoformat() == "2026-11-20"
    with pytest.raises(InputError, match=r"inputs\.events\.where: column 'kind' is not in .*b\.jsonl"):
        open_night(date="newest", events={"format": "jsonl", "where": "kind = 'x'"})


def test_a_restart_reads_what_the_first_start_found(open_night: Open, folder: Path) -> None:
    tell(open_night(), "a.jsonl", '{"event_id": "1"}\n')
    run = start(open_night())
    tell(run, "a.jsonl", '{"event_id": "1"}\n{"event_id": "2"}\n')
    tell(run, "b.jsonl")
    (folder / "events" / "c.csv").write_text("user_id,item_id,timestamp\nx,i,2026-11-20\n")
    again = start(open_night())
    assert again.folder.run_id == run.folder.run_id
    assert names(again, "events") == ["a.csv", "b.csv"]
    assert names(again, "feedback") == ["a.jsonl"]
    (feedback,) = listed_files(again, "feedback")
    assert feedback.size == len('{"event_id": "1"}\n')
    assert users(again) == ["u", "v", "w"]


def test_of_a_file_that_is_still_written_the_listed_rows_are_read(open_night: Open, folder: Path) -> None:
    run = start(open_night())
    with (folder / "events" / "b.csv").open("a") as stream:
        stream.write("x,j,2026-11-22\n")
    assert users(run) == ["u", "v", "w"]


def test_a_line_that_is_still_written_waits_for_the_next_night(
    open_night: Open, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its last column may be cut: 12 instead of 1299."""
    path, torn = folder / "events" / "b.csv", "user_id,timestamp,item_id\nw,2026-11-21,j\nu2,2026-11-20,12"
    path.write_text(torn)
    run = start(open_night())
    assert users(run) == ["u", "v", "w"]
    assert "b.csv: its last line has no line break, and the file was changed less than 60 s ago" in caplog.text
    before = listed_files(run, "events")[1]
    with path.open("a") as stream:
        stream.write("99\nx,2026-11-20,j\n")
    assert users(run) == ["u", "v", "w"]
    after = start(open_night(date="2026-11-23"))
    assert users(after) == ["u", "v", "w", "u2", "x"]
    assert (before.size, before.version) != (listed_files(after, "events")[1].size, before.version)
    path.write_text(torn)
    os.utime(path, (1, 1))
    assert users(start(open_night(date="2026-11-24"))) == ["u", "v", "w", "u2"]


def test_what_is_appended_while_a_stage_reads_waits_too(open_night: Open, folder: Path) -> None:
    run = start(open_night())
    source, files = run.config.inputs.events, listed_files(run, "events")
    tasks = plan_parts(source, files)
    with (folder / "events" / "b.csv").open("a") as stream:
        stream.write("x,j,2026-11-22\n")
    read = [rows["user_id"].to_pylist() for task in tasks.values() for _, rows, _ in read_part(source, task)]
    assert read == [["u", "v"], ["w"]]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "is gone"),
        (lambda path: path.write_text(path.read_text().replace("w,j", "x,j")), "was changed"),
        (lambda path: path.write_text("user_id,item_id,timestamp\nx,j,2026-11-19\nw,j,2026-11-21\n"), "was changed"),
        (lambda path: path.write_text("user_id,item_id,timestamp\n"), "was changed"),
    ],
    ids=["gone", "another row", "a row before it", "shorter"],
)
def test_a_listed_file_that_is_gone_or_changed_is_named(
    open_night: Open, folder: Path, spoil: Callable[[Path], None], said: str
) -> None:
    run, path = start(open_night()), folder / "events" / "b.csv"
    os.utime(path, ns=(1, 1))
    spoil(path)
    with pytest.raises(InputError, match=f"{path} {said} since this night was first started"):
        listed_files(run, "events")


def test_a_refused_night_reads_the_mended_files_when_it_starts_again(open_night: Open, folder: Path) -> None:
    run = stop(open_night(), InputError("bad"), INGEST_CATALOG)
    assert run.done(INGEST_CATALOG) is None
    assert run.storage.list(run.folder.quarantine_dir)  # it stays for people
    (folder / "events" / "b.csv").unlink()
    again = start(open_night())
    assert again.folder == run.folder
    assert names(again, "events") == ["a.csv"]
    assert not run.storage.list(run.folder.quarantine_dir)


def test_a_night_that_is_refused_after_its_training_keeps_it(open_night: Open) -> None:
    stop(open_night(), InputError("LATEST is damaged"), FINETUNE)
    assert start(open_night()).done(FINETUNE) is not None


def test_a_night_that_the_gate_refused_begins_again_with_other_inputs_only(open_night: Open, folder: Path) -> None:
    run = start(open_night())
    finish(run, FINETUNE)
    finish(run, RUN_GATE, verdict="refused")
    tell(run, "a.jsonl")
    assert start(open_night()).done(FINETUNE) is not None
    (folder / "events" / "b.csv").unlink()
    assert start(open_night(), force=True, publishes=True).done(FINETUNE) is not None  # it publishes what was refused
    again = start(open_night())
    assert again.done(FINETUNE) is None
    assert names(again, "events") == ["a.csv"]


def test_a_missing_input_is_refused_before_anything_is_written(open_night: Open, tmp_path: Path) -> None:
    (tmp_path / "data" / "items.parquet").unlink()
    with pytest.raises(InputError, match=r"items\.parquet"):
        start(open_night())
    assert not (tmp_path / "warehouse").exists()


def test_force_begins_again_and_goes_on_where_it_was_interrupted(open_night: Open) -> None:
    first = start(open_night())
    finish(first, INGEST_CATALOG)
    assert start(open_night()).done(INGEST_CATALOG) is not None
    forced = start(open_night(), force=True)  # the night is not published: it begins again under its name
    assert (forced.folder, forced.done(INGEST_CATALOG)) == (first.folder, None)
    finish(forced, INGEST_CATALOG)
    assert start(open_night(), force=True).done(INGEST_CATALOG) is not None
    finish(forced, INGEST_EVENTS)
    publish_run(forced)

    second = start(open_night(), force=True)
    assert second.folder.run_id == f"{first.folder.run_id}-2"
    assert second.done(INGEST_CATALOG) is None
    finish(second, INGEST_CATALOG)
    assert start(open_night(), force=True).done(INGEST_CATALOG) is not None
    assert start(open_night()).folder == first.folder  # without --force the published night answers
    finish(second, INGEST_EVENTS)
    assert start(open_night(), force=True).done(INGEST_CATALOG) is None  # what is finished is done again
    assert forced.done(INGEST_CATALOG) is not None  # what is published stays


def test_training_alone_begins_a_refused_night_again_by_force(open_night: Open) -> None:
    run = start(open_night())
    finish(run, FINETUNE)
    finish(run, RUN_GATE, verdict="refused")
    assert start(open_night(), force=True).done(FINETUNE) is None


def test_a_night_that_was_killed_while_old_files_were_deleted_begins_again(
    open_night: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its records would say that stages are done whose files are gone."""
    run = start(open_night())
    finish(run, INGEST_CATALOG)
    run.storage.write_bytes(run.catalog_path, b"catalog")
    delete, deleted = Storage.delete, []

    def killed(storage: Storage, path: str) -> None:
        if path.endswith("stages/catalog.json"):
            raise KeyboardInterrupt
        deleted.append(path)
        delete(storage, path)

    monkeypatch.setattr(Storage, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        start(open_night(), force=True)
    monkeypatch.setattr(Storage, "delete", delete)
    assert run.catalog_path in deleted
    assert start(open_night()).done(INGEST_CATALOG) is None


@pytest.mark.parametrize("refused", [False, True])
def test_a_forced_night_that_was_killed_between_manifest_and_pointer_goes_on(open_night: Open, refused: bool) -> None:
    if refused:  # the manifest of a refused night is written under --force only
        run = start(open_night())
        finish(run, RUN_GATE, verdict="refused")
        assert start(open_night(), force=True, publishes=True).folder == run.folder
    else:
        publish_run(start(open_night()))
        run = start(open_night(), force=True, publishes=True)
    finish(run, INGEST_CATALOG)
    manifest = write_manifest(run.folder, [], {"model_id": run.model_id})
    again = start(open_night(), force=True, publishes=True)
    assert (again.folder, again.done(INGEST_CATALOG) is not None) == (run.folder, True)
    assert start(open_night(), force=True).folder != run.folder  # training alone leaves it
    publish(run.folder, manifest, run.model_id)
    assert start(open_night(), force=True, publishes=True).folder != run.folder


def test_a_published_run_is_never_written_again(open_night: Open) -> None:
    """Training alone, after an upgrade whose records do not fit, works on another run than the published one."""
    run = start(open_night())
    publish_run(run)
    run.storage.write_bytes(f"{run.model_path()}/ranker.safetensors", b"weights")
    config = run.storage.read_bytes(run.folder.config_path)
    for force in (False, True):
        other = start(open_night(serve={"port": 1234}), force=force)
        assert other.folder.run_id == f"{run.folder.run_id}-2"
    assert run.storage.read_bytes(f"{run.model_path()}/ranker.safetensors") == b"weights"
    assert run.storage.read_bytes(run.folder.config_path) == config
    assert published(run.storage, run.folder.run_id) is not None
    for stage in STAGES:
        finish(run, stage)
    done = start(open_night(serve={"port": 1234}))  # what is finished answers, and is not written either
    assert done.folder == run.folder
    assert run.storage.read_bytes(run.folder.config_path) == config


def test_a_deleted_night_whose_model_is_needed_begins_under_another_name(open_night: Open) -> None:
    """Retention keeps the model of a deleted night for the arm of a published one."""
    old = start(open_night(date="2026-11-10"))
    models = {
        f"models/{model}/{name}" for model in old.folder.model_ids for name in ("model.json", "ranker.safetensors")
    }
    for path in models:
        old.storage.write_bytes(path, b"{}")
    old.storage.delete_folder(old.folder.dir)
    old.storage.write_bytes(deletion_mark(old.folder), b"{}")
    arms = [{"name": "old", "share": 0.5, "model": old.model_id}, {"name": "control", "share": 0.5}]
    tonight = start(open_night(experiments=[{"name": "x", "arms": arms}]))
    publish_run(tonight)

    asked = open_night(date="2026-11-10")
    with pytest.raises(
        ConfigError, match=f"{old.folder.run_id}: .* run {tonight.folder.run_id} needs its model; .*--force"
    ):
        start(asked)
    for _ in range(2):  # it begins, and goes on
        again = start(asked, force=True)
        assert again.folder.run_id == f"{old.folder.run_id}-2"
        again.storage.write_bytes(f"{again.model_path()}/model.json", b"{}")
    assert {path: old.storage.read_bytes(path) for path in models} == dict.fromkeys(models, b"{}")
    publish(again.folder, write_manifest(again.folder, [], {"model_id": again.model_id}), again.model_id)
    assert last_published(asked.folder) == published(again.storage, again.folder.run_id)

    tonight.storage.delete_folder(tonight.folder.dir)
    assert start(asked).folder == old.folder  # nobody needs it
    assert not set(models) & {f"models/{name}" for name in old.storage.list("models", recursive=True)}


def test_a_backtest_does_not_wait_for_the_night_and_is_stored_as_what_it_is(open_night: Open) -> None:
    night, backtest = open_night(), open_night("leave-one-out")
    with lock(night.folder):
        with pytest.raises(LockedError):
            start(open_night(seed=1))
        started = start(backtest, own_lock=True)
    assert stored_run(started.folder).protocol == "leave-one-out"
    assert stored_run(start(night).folder).protocol == "time"


@pytest.fixture
def relative(open_night: Open, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.chdir(folder)
    return lambda: open_night(events={"path": "events"})


def test_a_night_goes_on_where_the_warehouse_or_the_working_folder_was_moved(
    relative: Open, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(relative(), "a.jsonl")
    start(relative())
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "elsewhere")
    (tmp_path / "warehouse").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = relative().config.model_copy(update={"storage": str(tmp_path / "moved")})
    run = open_run(config)
    assert read_start(run.folder) is not None
    assert [file.path for file in listed_files(run, "events")] == [
        str(tmp_path / "elsewhere" / "events" / name) for name in ("a.csv", "b.csv")
    ]
    assert [file.path for file in listed_files(run, "feedback")] == [str(tmp_path / "moved" / "feedback" / "a.jsonl")]


def test_lists_of_ids_are_those_of_the_first_start(open_night: Open, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked.txt"
    blocked.write_text("i\n")
    run = start(open_night(rerank={"block_file": str(blocked)}))
    blocked.unlink()
    rows = [
        {"item_id": item, "text": item, "available": True, "attributes": {}, "text_hash": item} for item in ("i", "j")
    ]
    catalog = pa.Table.from_pylist(rows, CATALOG)
    assert recommendable(run, catalog).mask.tolist() == [False, True]
    with pytest.raises(InputError, match=r"rerank\.block_file: .* is no file"):
        start(open_night(rerank={"block_file": str(blocked)}, seed=1))


def test_a_list_of_another_version_is_taken_again(open_night: Open, caplog: pytest.LogCaptureFixture) -> None:
    run = start(open_night())
    stored = run.storage.read_json(run.folder.start_path)
    run.storage.write_json(run.folder.start_path, stored | {"version": "0.0.1"})
    with caplog.at_level("INFO"):
        start(open_night())
    assert "begun by version 0.0.1" in caplog.text
    run.storage.write_bytes(run.folder.start_path, json.dumps({"inputs": {}}).encode())
    assert names(start(open_night()), "events") == ["a.csv", "b.csv"]


def test_the_encoder_of_auto_is_settled_at_the_first_start(open_night: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    found = default_encoder.DefaultEncoder("owner/model", "c0ffee")
    monkeypatch.setattr(default_encoder, "default_encoder", lambda: found)
    asked = open_night()
    assert asked.config.encoder.model == "auto"
    first = start(asked)
    found = default_encoder.DefaultEncoder(None, None)  # the machine of the next start has less
    for run in (first, start(open_night()), stored_run(first.folder)):
        assert run.folder.run_id == asked.folder.run_id
        assert (run.config.encoder.model, run.config.encoder.revision) == ("owner/model", "c0ffee")
    assert start(open_night(seed=1)).config.encoder.model is None


def test_a_run_whose_first_start_settled_no_encoder_keeps_that_of_its_config(open_night: Open) -> None:
    run = start(open_night(encoder={"model": None}))
    stored = run.storage.read_json(run.folder.start_path)
    del stored["encoder"]  # as older versions wrote it
    run.storage.write_json(run.folder.start_path, stored)
    assert start(open_night(encoder={"model": None})).config.encoder.model is None
    assert read_start(run.folder) is not None
