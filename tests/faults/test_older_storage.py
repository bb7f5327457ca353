"""Storage of other releases: records of older ones are read, and newer forms are refused with a clear error.

The nights in `older/` were published by older commits, see `older/remake.py`.
"""

import datetime as dt
import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.nightly import NIGHT
from recsys.errors import LockedError, NewerFormatError
from recsys.pipeline.model_records import WARM_START, WarmStart
from recsys.pipeline.run import Run
from recsys.pipeline.stage import Stage
from recsys.pipeline.stages import FINETUNE, INGEST_EVENTS
from recsys.pipeline.start_run import read_start
from recsys.pipeline.stored.published_model import model_card, published_model
from recsys.pipeline.stored.stored_fusion import read_fusion
from recsys.pipeline.training.training_budget import read_past
from recsys.storage import record_kinds
from recsys.storage.latest import LATEST, require_latest
from recsys.storage.lease import lock
from recsys.storage.manifest import read_manifest
from recsys.storage.publish import publish, published
from recsys.storage.record_kinds import FORMAT_VERSION, RecordKind
from recsys.storage.runs import RunFolder
from tests.faults.stored_kinds import KINDS, Stored, copy_of, write_newer


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return copy_of("stages", tmp_path)


@pytest.mark.parametrize("release", ["words", "stages"])
def test_the_published_records_of_an_older_release_are_read(release: str, tmp_path: Path) -> None:
    run = copy_of(release, tmp_path)
    latest = require_latest(run.storage)
    assert published(run.storage, latest.run_id) == latest
    assert read_manifest(run.storage, latest)["users"] == 60
    assert (run.date, run.protocol) == (dt.date(2026, 11, 22), "time")
    assert run.config.recommend.top_k == 5
    assert (run.config.ease.l2, run.config.rerank.cold_item_slots) == (300.0, 0.1)  # `words` has their old names
    card = model_card(run, latest.model_id)
    assert (card.model_id, card.candidate_pass, card.spec.num_items) == (latest.model_id, False, 20)
    fusion = read_fusion(run, latest.model_id)
    assert fusion.weights["candidate_pass"] == 1.0
    assert fusion.weights["transitions_last_all_time"] == 0.5
    assert run.record(INGEST_EVENTS).accepted == 497
    with lock(run.folder) as lease:
        lease.check()


def test_stages_of_an_older_release_are_read_or_run_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = copy_of("stages", tmp_path / "a")
    night: tuple[Stage[Any], ...] = NIGHT
    stored = [stage for stage in night if run.storage.exists(run.folder.stage_path(stage.name))]
    assert len(stored) == 12
    assert all(run.done(stage) is not None for stage in stored)
    assert run.parts(FINETUNE, WarmStart)[WARM_START].model_id == ""
    assert (start := read_start(run.folder)) is not None
    assert len(start.inputs["events"]) == 30
    assert read_past(run, run.model_id) is not None
    assert caplog.messages == []

    assert copy_of("words", tmp_path / "b").done(FINETUNE) is None
    assert caplog.messages == [
        "finetune: its stored record does not fit this version, so it runs again (candidate_pass: Field required)"
    ]


def test_the_live_service_loads_the_night_of_an_older_release(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    from jobs.start_service import load_live
    from recsys.serving.contracts import HistoryEvent, RecommendationRequest
    from recsys.serving.snapshot_reload import SnapshotReloader

    path = run.storage.url(run.folder.config_path)
    with Path(path).open("a") as config:  # as a newer release would write it
        config.write("moon: {phase: 1}\n")
    reloader = SnapshotReloader(run.storage, load_live)
    with caplog.at_level(logging.INFO, "recsys.config"):
        assert reloader.refresh(), reloader.error
    assert [line for line in caplog.messages if "moon" in line] == [
        f"{path}: another release wrote this config; these keys are not known here and are left out: moon"
    ]
    assert reloader.current is not None
    asked = [RecommendationRequest(history=[HistoryEvent(item_id=item)]) for item in ("i0003", "none")]
    known, unknown = reloader.current.answer(asked, dt.datetime.now(dt.UTC))
    assert (known.strategy, len(known.items)) == ("personalized", 5)
    assert unknown.warnings


def test_the_live_service_says_what_a_night_of_another_release_lacks(tmp_path: Path) -> None:
    from jobs.start_service import load_live
    from recsys.serving.snapshot_reload import SnapshotReloader

    reloader = SnapshotReloader(copy_of("words", tmp_path).storage, load_live)
    assert not reloader.refresh()
    assert re.match(r"InputError: run 2026-11-22-\w+: /.* is missing\. Another release published", reloader.error or "")


def test_every_kind_of_records_is_tried() -> None:
    declared = [kind for kind in vars(record_kinds).values() if isinstance(kind, RecordKind)]
    others = [record_kinds.LEASE, record_kinds.CHECKPOINT]  # they have tests of their own
    assert {kind.name for kind in declared} == {kind.name for kind in [*others, *(each.kind for each in KINDS)]}


@pytest.mark.parametrize("stored", KINDS, ids=str)
def test_a_record_of_a_newer_form_is_named(stored: Stored, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    path = stored.path(run)
    write_newer(run, path, stored.kind)
    said = re.escape(run.storage.url(path)) if "training" not in path else re.escape(path)
    said += (
        rf": this {stored.kind.name} has format version {stored.kind.version + 1}, and this release \(.*\) knows "
        rf"versions up to {stored.kind.version}; a newer release wrote it: install that release or a later one"
    )
    if not stored.redone:
        with pytest.raises(NewerFormatError, match=f"^{said}$"):
            stored.read(run)
        return
    with caplog.at_level(logging.INFO):
        assert stored.read(run) is None
    assert re.search(said, " ".join(caplog.messages))


@pytest.mark.parametrize("stored", [each for each in KINDS if each.older], ids=str)
def test_fields_that_a_newer_release_added_are_left_out(stored: Stored, run: Run) -> None:
    path = stored.path(run)
    if path.endswith(".yaml"):
        run.storage.write_bytes(path, run.storage.read_bytes(path) + b"moon: {phase: 1}\n")
    else:
        run.storage.write_json(path, run.storage.read_json(path) | {"moon": {"phase": 1}})
    assert stored.read(run) is not None


def test_a_lease_of_a_newer_form_counts_until_it_is_released(run: Run) -> None:
    path = f"locks/{run.date}/00000002.json"
    run.storage.write_json(path, {FORMAT_VERSION: record_kinds.LEASE.version + 1, "moon": 1})
    said = rf"night of 2026-11-22: .*{path}: this lease has format .*delete this file"
    with pytest.raises(LockedError, match=said), lock(run.folder):
        pass
    stored = run.storage.read_json(path)
    run.storage.write_json(path, stored | {"released_at": "2026-11-22T01:00:00+00:00"})
    with lock(run.folder) as lease:
        assert lease.generation == 3


def test_checkpoints_of_another_form_are_not_looked_for(run: Run) -> None:
    assert run.train_dir == f"{run.folder.dir}/train/{record_kinds.CHECKPOINT.version}"


@pytest.mark.parametrize(
    ("name", "kind"), [("model.json", record_kinds.MODEL_CARD), ("fusion.json", record_kinds.FUSION)]
)
def test_the_night_after_a_rollback_begins_without_the_newer_model(
    name: str, kind: RecordKind, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    write_newer(run, f"{run.model_path()}/{name}", kind)
    tonight = replace(run, folder=RunFolder(run.storage, "2026-11-23-0123456789ab"), date=dt.date(2026, 11, 23))
    assert published_model(tonight) is None
    (line,) = caplog.messages
    assert line.startswith(f"no warm start from {run.model_id}, no comparison with it: ")
    assert f"{name}: this {kind.name} has format version {kind.version + 1}" in line


def test_latest_of_a_newer_form_is_moved_back_only_by_hand(run: Run) -> None:
    pointer = require_latest(run.storage)
    write_newer(run, LATEST, record_kinds.POINTER)
    with pytest.raises(NewerFormatError, match="LATEST"):
        publish(run.folder, pointer.manifest_sha256, pointer.model_id)
    assert publish(run.folder, pointer.manifest_sha256, pointer.model_id, allow_older=True)
    assert require_latest(run.storage).manifest_sha256 == pointer.manifest_sha256


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [({"architecture": 99}, {}, "its network has version 99"), ({}, {"moon": True}, "its network has moon")],
)
def test_a_network_that_this_release_does_not_know_is_named(
    run: Run, change: dict[str, int], options: dict[str, bool], said: str
) -> None:
    import torch

    from recsys.model.checkpoint import load_ranker
    from recsys.pipeline.stored.stored_vectors import read_text_vectors

    path = Path(run.storage.url(run.model_path()), "model.json")
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | change | {"spec": card["spec"] | options}))
    item_ids, _ = read_text_vectors(run, card["encoder_id"])
    with pytest.raises(NewerFormatError, match=said):
        load_ranker(path.parent, item_ids, torch.empty(0))  # it is refused before the texts are read
