"""The night from raw rows to published lists, on a real Ray, with real training."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from recsys.config import load_config
from recsys.distributed.night import open_night
from recsys.schema import HISTORIES, QUARANTINE, RECOMMENDATIONS
from recsys.storage.filesystem import Storage
from recsys.storage.lease import lock
from recsys.storage.publish import published as published_before
from recsys.storage.publish import read_latest, read_manifest, verify
from recsys.storage.runs import Run

STAGES = ["catalog", "ingest", "histories", "encode", "finetune", "gate", "recommend", "publish"]


def published_lists(storage: Storage) -> pa.Table:
    latest = read_latest(storage)
    assert latest is not None
    return ds.dataset(storage.path(latest.path), format="parquet").to_table()


def manifest_of(storage: Storage) -> dict[str, Any]:
    latest = read_latest(storage)
    assert latest is not None
    return read_manifest(storage, latest)


def test_a_night_writes_every_users_list_and_says_what_it_did(write_config, run_job, night_before, tmp_path):
    config, answer = write_config(), night_before

    assert answer["status"] == "published"
    storage = Storage(str(tmp_path / "warehouse"))
    run = Run(storage, answer["run_id"])
    verify(storage, manifest_of(storage))

    lists = published_lists(storage)
    assert lists.select(RECOMMENDATIONS.names).schema.remove_metadata() == RECOMMENDATIONS
    frame = lists.to_pandas()
    histories = ds.dataset(storage.path(run.histories_dir)).to_table()
    assert histories.schema.remove_metadata() == HISTORIES
    assert set(frame.user_id) == set(histories["user_id"].to_pylist())
    assert not frame.duplicated(["user_id", "item_id"]).any()
    for _, rows in frame.sort_values("rank").groupby("user_id"):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert (rows.score.diff().dropna() <= 0).all()
    seen = {
        (user, item)
        for user, items in zip(*(histories[name].to_pylist() for name in ("user_id", "seen_item_ids")), strict=True)
        for item in items
    }
    assert not seen & set(zip(frame.user_id, frame.item_id, strict=True))

    metrics = storage.read_json(run.metrics_path)["stages"]
    assert set(metrics) == set(STAGES)
    assert all(metrics[stage][key] >= 0 for stage in STAGES for key in ("seconds", "rows", "rows_per_s"))
    assert all(metrics[stage]["peak_memory_mb"] > 50 for stage in STAGES)
    assert metrics["histories"]["duplicates"] > 0
    bad = ds.dataset(storage.path(run.quarantine_dir)).to_table()
    assert bad.schema.remove_metadata() == QUARANTINE
    counted = {row["values"]: row["counts"] for row in pc.value_counts(bad["reason"]).to_pylist()}
    assert counted == metrics["ingest"]["reasons"]
    assert {"missing_user", "unknown_item", "unreadable_timestamp", "future_timestamp"} <= set(counted)
    assert all(isinstance(json.loads(row), dict) for row in bad["row"].to_pylist())
    page = storage.read_bytes(run.report_path).decode()
    assert answer["run_id"] in page
    assert "unknown_item" in page

    # a second start answers at once and changes nothing
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "warehouse").rglob("*") if path.is_file()}
    code, again = run_job("nightly", "--config", config)
    assert (code, again["status"], again["run_id"]) == (0, "already_published", answer["run_id"])
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "warehouse").rglob("*") if path.is_file()}

    # the next night starts from this one's model, and is compared with it
    code, next_night = run_job("nightly", "--config", config, "--date", "2026-11-23")
    assert (code, next_night["status"]) == (0, "published")
    records = Run(storage, next_night["run_id"])
    assert records.done("finetune")["warm_start"] == answer["model_id"]
    assert records.done("gate")["compared_with"] == answer["model_id"]
    assert records.done("encode")["encoded"] == 0

    # analysts read the history of nights by the manifests
    rows = duckdb.sql(
        f"select run_date, count(distinct user_id) from read_parquet('{tmp_path}/warehouse/recommendations/"
        "run_date=*/run_id=*/shard-*.parquet', hive_partitioning=true) group by run_date order by run_date"
    ).fetchall()
    assert [row[0] for row in rows] == [dt.date(2026, 11, 22), dt.date(2026, 11, 23)]

    # evaluation of a published run reads its model and its holdout
    code, figures = run_job("evaluate", "--config", config, "--run", answer["run_id"])
    assert (code, figures["status"]) == (0, "evaluated")
    assert figures["ranker"]["ndcg@10"] > figures["popularity"]["ndcg@10"] > 0


def test_one_and_two_workers_write_the_same_bytes(write_config, run_job, night_before, tmp_path):
    config = write_config(tmp_path / "one-worker", recommend={"num_workers": 1})
    code, answer = run_job("nightly", "--config", config)
    assert (code, answer["run_id"]) == (0, night_before["run_id"])
    one, two = (
        {shard["name"]: shard["sha256"] for shard in manifest_of(Storage(str(tmp_path / name)))["shards"]}
        for name in ("one-worker", "warehouse")
    )
    assert len(one) == 3
    assert one == two


def test_a_killed_night_goes_on_where_it_was_cut_off(write_config, run_job, tmp_path):
    config = write_config()
    command = [sys.executable, "jobs/nightly.py", "--config", str(config)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "recommend …" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.stderr.close()
    assert process.wait() != 0

    storage = Storage(str(tmp_path / "warehouse"))
    assert read_latest(storage) is None
    night = open_night(load_config(config))
    trained = night.run.done("finetune")
    assert trained is not None

    code, answer = run_job("nightly", "--config", config)
    assert (code, answer["run_id"]) == (0, night.run.run_id)
    assert night.run.done("finetune") == trained
    verify(storage, manifest_of(storage))


def test_only_missing_shards_are_written_again(write_config, run_job, night_before, tmp_path):
    config = write_config()
    storage = Storage(str(tmp_path / "warehouse"))
    night = open_night(load_config(config))
    folder = next((tmp_path / "warehouse" / "recommendations").glob("run_date=*/run_id=*"))
    shards = sorted(folder.glob("shard-*.parquet"))
    before = {shard.name: (shard.stat().st_mtime_ns, shard.read_bytes()) for shard in shards}
    # as if the night had been cut off after all shards but one
    lost = shards[1]
    for path in (
        "recommendations/LATEST.json",
        f"{night.run.dir}/published.json",
        night.run.part_path("recommend", lost.stem),
        night.run.stage_path("recommend"),
        night.run.stage_path("publish"),
    ):
        storage.delete(path)
    lost.unlink()
    (folder / "_MANIFEST.json").unlink()

    code, second = run_job("nightly", "--config", config)
    assert (code, second["path"]) == (0, str(folder))
    assert night.run.done("recommend")["resumed_shards"] == len(shards) - 1
    after = {shard.name: (shard.stat().st_mtime_ns, shard.read_bytes()) for shard in shards}
    assert after[lost.name][1] == before[lost.name][1]
    assert {name for name in before if after[name] != before[name]} == {lost.name}


def test_force_runs_a_published_night_anew_beside_the_old_one(write_config, run_job, night_before, tmp_path):
    code, second = run_job("nightly", "--config", write_config(), "--force")
    assert (code, second["status"]) == (0, "published")
    assert second["run_id"] == f"{night_before['run_id']}-2"
    storage = Storage(str(tmp_path / "warehouse"))
    latest = read_latest(storage)
    assert latest is not None
    assert latest.run_id == second["run_id"]
    assert Run(storage, second["run_id"]).done("encode")["encoded"] == 0
    published = published_before(storage, night_before["run_id"])
    assert published is not None
    verify(storage, read_manifest(storage, published))


def test_a_model_worse_than_popularity_is_not_published(write_config, run_job, tmp_path):
    config = write_config(train={"epochs": 1, "learning_rate": 1e-9})
    code, answer = run_job("nightly", "--config", config)
    assert (code, answer["status"]) == (4, "refused")
    assert "significantly below popularity" in answer["error"]
    assert read_latest(Storage(str(tmp_path / "warehouse"))) is None
    code, _ = run_job("nightly", "--config", config)
    assert code == 4


def test_too_much_bad_input_stops_the_night(write_config, run_job, shop, tmp_path):
    inputs = load_config(write_config()).inputs.model_dump(mode="json")
    config = write_config(inputs=inputs | {"max_quarantine_rate": 0.0001})
    code, answer = run_job("nightly", "--config", config)
    assert code == 3
    assert "max_quarantine_rate" in answer["error"]
    assert "unknown_item" in answer["error"]
    storage = Storage(str(tmp_path / "warehouse"))
    assert read_latest(storage) is None
    run = open_night(load_config(config)).run
    assert storage.read_json(run.metrics_path)["refused"]["inputs.events"]["reasons"]["unknown_item"] > 0
    assert storage.list(run.quarantine_dir)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "items.parquet").unlink(), "items.parquet"),
        (lambda folder: cut_in_half(folder / "items.parquet"), "items.parquet"),
        (lambda folder: cut_in_half(folder / "items.parquet", 0), "items.parquet"),
        (lambda folder: pq.write_table(pa.table({"item_id": ["a"]}), folder / "items.parquet"), "title"),
        (lambda folder: (folder / "events" / "2026-11-22.csv").write_text("user,item\n1,2\n"), "user_id"),
        (lambda folder: empty(folder / "events"), "events"),
    ],
    ids=["missing", "truncated", "no bytes", "no column in items", "no column in events", "no rows"],
)
def test_input_that_cannot_be_used_is_named(write_config, run_job, shop, tmp_path, spoil, named):
    copy = tmp_path / "shop"
    (copy / "events").mkdir(parents=True)
    for source in [shop / "items.parquet", *(shop / "events").iterdir()]:
        (copy / source.relative_to(shop)).write_bytes(source.read_bytes())
    inputs = json.loads(
        json.dumps(load_config(write_config()).inputs.model_dump(mode="json")).replace(str(shop), str(copy))
    )
    config = write_config(inputs=inputs)
    spoil(copy)
    code, answer = run_job("nightly", "--config", config)
    assert code == 3, answer
    assert named in answer["error"]
    assert read_latest(Storage(str(tmp_path / "warehouse"))) is None


def cut_in_half(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_text(path.read_text().splitlines()[0] + "\n")


def test_a_wrong_command_starts_nothing(write_config, run_job, tmp_path):
    code, answer = run_job("nightly", "--config", write_config(), "--set", "recommend.top_k=0")
    assert code == 2
    assert answer["error"] == "recommend.top_k: must be ≥ 1, got 0"
    assert not (tmp_path / "warehouse").exists()


def test_a_second_run_of_the_same_night_is_kept_out(write_config, run_job):
    config = write_config()
    with lock(open_night(load_config(config)).run):
        code, answer = run_job("nightly", "--config", config)
    assert code == 5
    assert str(os.getpid()) in answer["error"]


def test_a_dry_run_prints_the_plan_and_touches_nothing(write_config, run_job, tmp_path):
    code, answer = run_job("nightly", "--config", write_config(), "--dry-run")
    assert (code, answer["status"]) == (0, "planned")
    assert not (tmp_path / "warehouse").exists()


def test_finetune_alone_is_taken_up_by_the_night(write_config, run_job, night_before, tmp_path):
    storage = Storage(str(tmp_path / "warehouse"))
    run = Run(storage, night_before["run_id"])
    for stage in ("finetune", "gate", "recommend", "publish"):
        storage.delete(run.stage_path(stage))
    storage.delete_folder(f"models/{night_before['model_id']}")
    code, trained = run_job("finetune", "--config", write_config())
    assert (code, trained["status"], trained["model_id"]) == (0, "trained", night_before["model_id"])
    assert storage.exists(f"models/{trained['model_id']}/ranker.safetensors")
    assert run.done("gate") is None


def test_leave_one_out_is_a_backtest_of_its_own(write_config, run_job, tmp_path):
    config = write_config()
    code, figures = run_job("evaluate", "--config", config, "--protocol", "leave-one-out")
    assert (code, figures["protocol"]) == (0, "leave-one-out")
    assert figures["users"] > 100
    assert figures["ranker"]["ndcg@10"] > figures["popularity"]["ndcg@10"]
    assert read_latest(Storage(str(tmp_path / "warehouse"))) is None
    code, refused = run_job("evaluate", "--config", config, "--protocol", "leave-one-out", "--run", figures["run_id"])
    assert code == 2
    assert "--run" in refused["error"]
