"""The gates before publishing: what they refuse stays unpublished, until `--force` publishes the same lists."""

from pathlib import Path
from typing import Any

import pytest

from recsys.pipeline.measuring.gate_summary import gate_summary, was_refused
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.pipeline.stages import CHECK_LISTS, PUBLISH_LISTS, RUN_GATE
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, read_latest
from recsys.storage.manifest import MANIFEST, Shard, lists_folder, read_manifest, write_manifest
from recsys.storage.publish import publish
from recsys.storage.runs import RunFolder

BEFORE = "2026-11-21-0123456789ab"


def publish_large_night(storage: Storage) -> None:
    """A night of the day before, with the lists of 10,000 users."""
    run = RunFolder(storage, BEFORE)
    storage.write_bytes(f"{lists_folder(run)}/shard-00000.parquet", b"lists")
    shard = Shard(name="shard-00000.parquet", rows=50_000, users=10_000, bytes=5, sha256="0")
    manifest = write_manifest(run, [shard], {"model_id": "ranker-x"})
    publish(run, manifest, "ranker-x")


def unpublish(run: Run, *stages: Any) -> None:
    """As if the night had been interrupted before these stages."""
    places = [LATEST, f"{run.folder.dir}/published.json", f"{lists_folder(run.folder)}/{MANIFEST}"]
    for path in [*places, *(run.folder.stage_path(stage.name) for stage in stages)]:
        run.storage.delete(path)


@pytest.fixture
def unfinished(write_config: Any, night_before: dict[str, Any]) -> Run:
    """The session's night before its lists were checked; a much larger night is published."""
    run = open_run(load_config(write_config()))
    unpublish(run, CHECK_LISTS, PUBLISH_LISTS)
    publish_large_night(run.storage)
    return run


def test_a_refused_night_is_published_by_force_as_it_is(unfinished, write_config, run_job, tmp_path):
    storage, folder = unfinished.storage, tmp_path / "warehouse" / lists_folder(unfinished.folder)
    lists = {path: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    trained = unfinished.folder.done("finetune")

    code, answer = run_job("nightly", "--config", write_config())
    assert (code, answer["status"]) == (4, "refused")
    assert "users: the users with a list are 5.0 % of those of 2026-11-21-0123456789ab" in answer["error"]
    assert "gate.min_users_ratio is at least 50.0 %" in answer["error"]
    assert "--force" in answer["error"]
    assert answer["refused"]["gate"]["users"]["value"] == pytest.approx(0.05)
    latest = read_latest(storage)
    assert latest is not None
    assert latest.run_id == BEFORE
    assert not (folder / MANIFEST).exists()
    assert storage.read_json(unfinished.folder.metrics_path)["refused"] == answer["refused"]
    assert "Refused, nothing was published" in page_of(unfinished)
    assert was_refused(unfinished)

    code, answer = run_job("nightly", "--config", write_config(), "--force")
    assert (code, answer["status"], answer["run_id"]) == (0, "published", unfinished.folder.run_id)
    assert (answer["gate"], answer["gate_reason"].partition(":")[0]) == ("overridden", "users")
    latest = read_latest(storage)
    assert latest is not None
    assert latest.run_id == unfinished.folder.run_id
    verdicts = read_manifest(storage, latest)["gate"]
    assert (verdicts["verdict"], verdicts["overridden"], verdicts["passed"]) == ("overridden", ["users"], True)
    assert {check["name"] for check in verdicts["checks"]} >= {"quality", "users", "coverage", "schema", "scores"}
    assert lists == {path: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    assert unfinished.folder.done("finetune") == trained
    assert "Refused, published by --force" in page_of(unfinished)
    assert "refused, overridden by --force" in page_of(unfinished)

    (Path(storage.root) / unfinished.folder.report_path).unlink()  # a report that could not be written is made up
    assert run_job("nightly", "--config", write_config())[1]["status"] == "already_published"
    assert "Refused, published by --force" in page_of(unfinished)


def test_a_new_threshold_publishes_the_same_lists(unfinished, write_config, run_job):
    assert run_job("nightly", "--config", write_config())[0] == 4
    code, answer = run_job("nightly", "--config", write_config(), "--set", "gate.min_users_ratio=0.02")
    assert (code, answer["status"], answer["run_id"]) == (0, "published", unfinished.folder.run_id)
    assert answer["gate"] == "passed"
    assert gate_summary(unfinished)["overridden"] == []


def test_a_night_that_could_not_be_examined_says_so(unfinished, write_config, run_job):
    """Its held-out users are too few."""
    unfinished.storage.delete(LATEST)
    for stage in (RUN_GATE, CHECK_LISTS):
        unfinished.storage.delete(unfinished.folder.stage_path(stage.name))
    settings = {"gate": {"min_users": 10_000}}
    few = open_run(load_config(write_config(**settings)))
    done = Path(unfinished.storage.root) / "runs" / unfinished.folder.run_id
    done.rename(done.parent / few.folder.run_id)
    for name in ("histories", "models"):
        copy_for(Path(unfinished.storage.root) / name, unfinished.folder.run_id, few.folder.run_id)
    lists = Path(unfinished.storage.root) / lists_folder(unfinished.folder)
    lists.rename(lists.parent / f"run_id={few.folder.run_id}")
    code, answer = run_job("nightly", "--config", write_config(**settings))
    assert (code, answer["status"], answer["gate"]) == (0, "published", "not_examined")
    assert "fewer than 10000" in answer["gate_reason"]
    assert "Passed, but not examined" in page_of(few)


def copy_for(folder: Path, old: str, new: str) -> None:
    for path in folder.iterdir():
        if old in path.name:
            path.rename(folder / path.name.replace(old, new))


def page_of(run: Run) -> str:
    return run.storage.read_bytes(run.folder.report_path).decode()
