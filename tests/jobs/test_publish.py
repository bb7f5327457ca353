"""Which nights are published, back to one of them, and the end of old ones; over copies of a real night."""

import datetime as dt
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.pipeline.open_run import stored_run
from recsys.pipeline.published_night import open_night
from recsys.pipeline.publishing.needed_files import verify_night
from recsys.pipeline.publishing.retain_nights import retain_after, retain_nights
from recsys.storage.config import RetentionConfig
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, read_latest
from recsys.storage.lease import lock
from recsys.storage.manifest import MANIFEST, lists_folder, read_manifest, verify, write_manifest
from recsys.storage.nights import published_nights
from recsys.storage.publish import pointer_to, publish
from recsys.storage.runs import RunFolder
from tests.cloned_nights import clone_night, published_at

LAST = dt.date(2026, 11, 22)
KEEP = 7


@pytest.fixture
def three_nights(one_night: tuple[Path, dict[str, Any]], tmp_path: Path) -> list[RunFolder]:
    """Three nights where `write_config` puts the storage, the oldest first; LATEST names the newest."""
    source, answer = one_night
    root = tmp_path / "warehouse"
    dates = [LAST - dt.timedelta(days=days) for days in (2, 1, 0)]
    return [clone_night(source, answer["run_id"], root, date) for date in dates]


def latest_in(run: RunFolder) -> str:
    latest = read_latest(run.storage)
    assert latest is not None
    return latest.run_id


def test_the_nights_are_listed_oldest_first(write_config, run_job, three_nights) -> None:
    code, answer = run_job("publish", "--config", write_config(retention={"keep_nights": 2}), "--list")
    assert (code, answer["status"], answer["run_id"]) == (0, "listed", three_nights[2].run_id)
    assert [night["run_id"] for night in answer["nights"]] == [run.run_id for run in three_nights]
    assert [night["latest"] for night in answer["nights"]] == [False, False, True]
    assert [night["kept"] for night in answer["nights"]] == ["", "kept", "latest"]
    manifest = read_manifest(three_nights[0].storage, pointer_to(three_nights[0]))
    first = answer["nights"][0]
    assert (first["users"], first["rows"]) == (manifest["users"], manifest["rows"])
    assert first["model_id"] == f"ranker-{three_nights[0].run_id}"
    size = sum(sum(three_nights[0].storage.sizes(folder, recursive=True).values()) for folder in folders(first))
    assert first["bytes"] == size


def folders(night: dict[str, Any]) -> list[str]:
    run_id = night["run_id"]
    tables = ("recommendations", "similar_items", "item_report")
    partitions = [f"{table}/run_date={night['run_date']}/run_id={run_id}" for table in tables]
    return [*partitions, f"histories/{run_id}", f"runs/{run_id}", f"models/ranker-{run_id}"]


def test_latest_goes_back_and_forward(write_config, run_job, three_nights) -> None:
    config = write_config()
    for place in (0, 2, 1):
        run = three_nights[place]
        code, answer = run_job("publish", "--config", config, "--to", run.run_id)
        assert (code, answer["status"], answer["run_id"]) == (0, "published", run.run_id)
        assert latest_in(run) == run.run_id
        assert open_night(run.storage.root).run.folder.run_id == run.run_id
    assert answer["before"] == three_nights[2].run_id
    before = run.storage.read_bytes("recommendations/LATEST.json")
    code, answer = run_job("publish", "--config", config, "--to", run.run_id)
    assert (code, answer["before"]) == (0, run.run_id)
    assert run.storage.read_bytes("recommendations/LATEST.json") == before


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_a_damaged_night_is_refused_by_the_name_of_the_file(
    write_config, run_job, three_nights, damage: Callable[[Path], None]
) -> None:
    run, config = three_nights[0], write_config()
    root = Path(run.storage.root)
    for name in (
        f"{lists_folder(run)}/shard-00001.parquet",
        f"{lists_folder(run)}/{MANIFEST}",
        f"histories/{run.run_id}/shard-00001.parquet",
        f"models/ranker-{run.run_id}/ranker.safetensors",
        f"models/ranker-{run.run_id}/fusion.json",
        f"{run.dir}/catalog.parquet",
        f"{run.dir}/config.yaml",
        f"{run.dir}/signals/ease/full.parquet",
    ):
        whole = (root / name).read_bytes()
        damage(root / name)
        code, answer = run_job("publish", "--config", config, "--to", run.run_id)
        assert (code, answer["status"]) == (3, "refused"), name
        assert name in answer["error"]
        assert latest_in(run) == three_nights[2].run_id
        (root / name).write_bytes(whole)
    assert run_job("publish", "--config", config, "--to", run.run_id)[0] == 0


def test_a_night_of_an_older_version_is_checked_by_what_is_there(write_config, run_job, three_nights) -> None:
    run, config = three_nights[0], write_config()
    root = Path(run.storage.root)
    path = root / lists_folder(run) / MANIFEST
    old = {key: value for key, value in json.loads(path.read_text()).items() if key != "needs"}
    path.unlink()
    sha256 = write_manifest(run, old["shards"], {k: old[k] for k in ("model_id", "config", "tables")})
    publish(run, sha256, old["model_id"], allow_older=True)
    publish(three_nights[2], pointer_to(three_nights[2]).manifest_sha256, f"ranker-{three_nights[2].run_id}")
    weights = root / f"models/ranker-{run.run_id}/ranker.safetensors"
    weights.rename(weights.with_suffix(".away"))
    code, answer = run_job("publish", "--config", config, "--to", run.run_id)
    assert (code, "ranker.safetensors: is missing" in answer["error"]) == (3, True)
    weights.with_suffix(".away").rename(weights)
    assert run_job("publish", "--config", config, "--to", run.run_id)[0] == 0


def test_what_cannot_be_done_says_why(write_config, run_job, three_nights) -> None:
    config = write_config()
    run = three_nights[0]
    cases = [
        (["--to", "2020-01-01-0123456789ab"], 2, "is not published"),
        (["--to", "../x"], 2, "must look like"),
        (["--retain"], 2, "keep_nights and keep_days are null"),
        (["--list", "--dry-run"], 2, "--dry-run"),
    ]
    for arguments, code, words in cases:
        found, answer = run_job("publish", "--config", config, *arguments)
        assert (found, words in answer["error"]) == (code, True), arguments
    with lock(run):
        code, answer = run_job("publish", "--config", config, "--to", run.run_id)
    assert (code, f"the night of {run.date}" in answer["error"]) == (5, True)


def test_old_nights_are_deleted_when_asked(write_config, run_job, three_nights) -> None:
    config, storage = write_config(), three_nights[0].storage
    rule = ("--set", "retention.keep_nights=1", "--set", "retention.grace_hours=0")
    code, planned = run_job("publish", "--config", config, "--retain", "--dry-run", *rule)
    assert (code, planned["status"]) == (0, "planned")
    assert planned["deleted"] == [run.run_id for run in three_nights[:2]]
    assert [night.run_id for night in published_nights(storage)] == [run.run_id for run in three_nights]
    code, done = run_job("publish", "--config", config, "--retain", *rule)
    assert (code, done["status"], done["deleted"]) == (0, "retained", planned["deleted"])
    assert done["bytes"] == planned["bytes"] > 0
    assert [night.run_id for night in published_nights(storage)] == [three_nights[2].run_id]
    page = storage.read_bytes("site/index.html").decode()
    assert f'href="nights/{three_nights[2].run_id}.html"' in page
    assert f'href="nights/{three_nights[0].run_id}.html"' not in page
    assert three_nights[0].date.isoformat() in page
    assert len(open_night(storage.root).list_of("nobody")) == 0


def test_a_night_applies_its_retention_and_never_fails_by_it(three_nights) -> None:
    run = stored_run(three_nights[2])
    assert retain_after(run) == {}
    rules = RetentionConfig(keep_nights=2, grace_hours=0)
    run = replace(run, config=run.config.model_copy(update={"retention": rules}))
    damaged = Path(run.storage.root) / f"models/ranker-{three_nights[1].run_id}/model.json"
    whole = damaged.read_bytes()
    damaged.write_bytes(b"{")
    assert damaged.name in retain_after(run)["retention_error"]
    damaged.write_bytes(whole)
    assert retain_after(run) == {"deleted_nights": [three_nights[0].run_id]}
    assert retain_after(run) == {}


def test_thirty_nights_of_an_unchanged_shop_take_the_storage_of_those_that_stay(
    one_night: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """And whoever reads the oldest night that stays, reads it to its end while others are deleted."""
    source, answer = one_night
    root, rules = tmp_path / "warehouse", RetentionConfig(keep_nights=KEEP)
    storage, before = Storage(str(root)), ""
    for day in range(30):
        date = LAST + dt.timedelta(days=day)
        before = clone_night(source, answer["run_id"], root, date, continues=before or None).run_id
        oldest = published_nights(storage)[-KEEP:][0]
        opened = threading.Event()

        with ThreadPoolExecutor(1) as reader:
            reading = reader.submit(_read, storage, oldest, opened)
            opened.wait(10)
            done = retain_nights(storage, rules, published_at(date) + dt.timedelta(minutes=1))
            reading.result()
        assert len(done.deleted) == (day >= KEEP)
        assert done.in_use == []
    kept = published_nights(storage)
    assert len(kept) == KEEP
    for night in kept:
        verify_night(storage, night)
    alone = tmp_path / "alone"
    for night in kept:
        clone_night(source, answer["run_id"], alone, night.run_date)
    ratio = size_of(root) / size_of(alone)
    assert 1 <= ratio <= 1.2, ratio
    shutil.rmtree(alone)


def _read(storage: Storage, night: Latest, opened: threading.Event) -> None:
    manifest = read_manifest(storage, night)
    opened.set()
    for _ in range(3):
        verify(storage, manifest)


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
