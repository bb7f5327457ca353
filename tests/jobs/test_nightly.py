"""The night from raw rows to published lists, on a real Ray, with real training."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs.nightly import NIGHT
from jobs.plan import places
from recsys.pipeline.open_run import open_run, stored_run
from recsys.pipeline.scoring.fit_fusion import CUTS, MIN_USERS
from recsys.ranking.fusion import default_fusion
from recsys.schema import HISTORIES, QUARANTINE, RECOMMENDATIONS
from recsys.settings import load_config
from recsys.signals.registry import SIGNALS, usual_signals
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest
from recsys.storage.lease import lock
from recsys.storage.manifest import read_manifest, verify
from recsys.storage.publish import published as published_before
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table

#: The stages that every night has, in their order.
STAGES = [stage.name for stage in NIGHT if stage.condition is None]


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
    run = RunFolder(storage, answer["run_id"])
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
    assert all(metrics[stage][key] > 0 for stage in STAGES for key in ("seconds", "rows", "rows_per_s"))
    assert sorted(STAGES, key=lambda stage: metrics[stage]["finished_at"]) == STAGES
    check_files(storage, answer["run_id"])
    assert all(metrics[stage]["peak_memory_mb"] > 50 for stage in STAGES)
    assert metrics["histories"]["duplicates"] > 0
    measured = metrics["gate"]["rows"]  # all who have anything to be found that they had not before
    assert measured <= metrics["histories"]["held_out_users"] < metrics["histories"]["users"]
    assert metrics["signals"]["merged"]["transitions"] > 0
    check_fusion(metrics["fuse"])
    check_reasons(frame, histories, title_of(storage, run))
    reranked, filtered = metrics["recommend"]["reranked"], metrics["recommend"]["filtered"]
    assert (reranked["users"], reranked["listed"]) == (len(histories), len(frame))
    assert reranked["candidates"] == reranked["listed"] + reranked["left_out"]
    assert filtered["recommendable"] == filtered["items"] - filtered["unavailable"]
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


#: JSON files of a night that no release reads back, or that have a form of their own: encoders and tokenizers.
NOT_READ_BACK = ("metrics.json", "/models/encoder-")


def test_every_record_of_a_night_has_a_version(night_before, tmp_path):
    records = [path for path in (tmp_path / "warehouse").rglob("*.json") if path.stat().st_size]
    read_back = [path for path in records if not any(part in str(path) for part in NOT_READ_BACK)]
    assert len(read_back) > 20
    assert [path for path in read_back if json.loads(path.read_text())["format_version"] < 1] == []
    (config,) = (tmp_path / "warehouse").glob("runs/*/config.yaml")
    assert config.read_text().startswith("# format_version: ")


def test_a_published_night_makes_up_for_what_failed_after_it(write_config, run_job, night_before, tmp_path):
    storage = Storage(str(tmp_path / "warehouse"))
    run = RunFolder(storage, night_before["run_id"])
    page = storage.read_bytes(run.report_path)
    leftover = f"{run.dir}/events/part-00000.parquet"
    storage.delete(run.report_path)
    storage.write_bytes(leftover, b"rows")
    code, answer = run_job("nightly", "--config", write_config())
    assert (code, answer["status"], answer["made_up"]) == (0, "already_published", ["report", "cleanup"])
    assert storage.read_bytes(run.report_path) == page
    assert not storage.exists(leftover)

    # the lists are out: a report that cannot be written is a warning
    storage.delete(run.report_path)
    storage.delete(f"{run.dir}/catalog.parquet")
    code, answer = run_job("nightly", "--config", write_config())
    assert (code, answer["status"], answer["made_up"]) == (0, "already_published", [])
    assert "catalog.parquet" in answer["report_error"]


def check_files(storage: Storage, run_id: str) -> None:
    """What the stages declare to write is there, and what they declare as intermediate is deleted."""
    run = stored_run(RunFolder(storage, run_id))
    deleted = {f"{run.folder.dir}/{folder}" for stage in NIGHT for folder in stage.intermediate}
    assert not [folder for folder in deleted if storage.list(folder)]
    root = Path(storage.root)
    for stage in NIGHT:
        if stage.applies(run.config):
            for place in places(run, stage.writes):
                path = place.rstrip("/").replace("<encoder digest>", "*")
                assert path in deleted or list(root.glob(path)), f"{stage.name} wrote no {place}"


def title_of(storage: Storage, run: RunFolder) -> dict[str, str]:
    catalog = pq.read_table(storage.path(f"{run.dir}/catalog.parquet"))
    columns = (catalog[name].to_pylist() for name in ("item_id", "attributes"))
    return {item: dict(attributes)["title"] for item, attributes in zip(*columns, strict=True)}


def check_fusion(record: dict[str, Any]) -> None:
    """Weights were fitted on enough users, and the fused score is no worse than any signal alone."""
    assert record["rows"] >= record["users"] >= MIN_USERS
    added = record["weights_short"]  # empty where it does not help these few users
    for weights in filter(None, (record["weights"], added)):
        assert set(weights) == {column for signal in usual_signals() for column in signal.columns}
        assert weights["repeat"] == weights["seen"] == weights["returns"] == 0, "what was seen is left out"
        assert any(weights.values())
    for name in ("validation_short_ndcg@10_without", "validation_short_ndcg@10"):
        assert 0 <= record[name] < 1
        assert record[name] > 0 or not added
    assert record["validation_ndcg@10"] >= max(record["validation_alone"].values()) > 0


def check_visits(storage: Storage, run: RunFolder) -> None:
    """Each validation user who took something comes with the whole history, and several times with a few items."""
    tables = [read_table(storage, f"{run.dir}/choices/{shard}.parquet") for shard in run.done("histories")["shards"]]
    frame = pa.concat_tables(tables).select(["cut", "length", "taken"]).to_pandas()
    whole, short = frame[frame.cut == 0], frame[frame.cut > 0]
    assert frame.taken.map(any).all()
    assert set(short.cut) == set(CUTS)
    assert (short.length <= short.cut).all()
    assert (short.length == short.cut).mean() > 0.4
    assert (short.cut.value_counts() > len(whole) / 2).all()
    assert whole.length.max() > max(CUTS)


def check_reasons(lists: pd.DataFrame, histories: pa.Table, titles: dict[str, str]) -> None:
    """Every row has a reason. Items that it names are in the user's history; an explored item is in no history."""
    columns = [histories[name].to_pylist() for name in ("user_id", "item_ids")]
    had = {user: {titles[item] for item in items} for user, items in zip(*columns, strict=True)}
    assert set(lists.source) <= {*SIGNALS.names, "exploration"}
    assert "text" in set(lists.source)
    assert not set(lists.item_id[lists.source == "exploration"]) & {item for items in columns[1] for item in items}
    for row in lists.itertuples():
        said = () if row.source == "exploration" else SIGNALS[row.source].sentences
        heads = [sentence.removesuffix("{}") for sentence in said if sentence.endswith("{}")]
        named = next((row.reason.removeprefix(head) for head in heads if row.reason.startswith(head)), None)
        assert named is None or named in had[row.user_id]


def test_rules_of_items_and_too_few_users_to_weigh_signals(write_config, run_job, capsys, tmp_path):
    """One night with both: a blocked item is in no list, and default weights are used, with a warning."""
    blocked = tmp_path / "blocked.txt"
    blocked.write_text("i0001\nnever-heard-of\n")
    config = write_config(
        rerank={"block": ["i0000"], "block_file": str(blocked), "where": "category is not null", "exploration": 0.2},
        train={"validation_users": 5, "epochs": 2},
    )
    code, answer = run_job("nightly", "--config", config)
    assert (code, answer["status"]) == (0, "published")
    log = " ".join(capsys.readouterr().err.split())
    storage = Storage(str(tmp_path / "warehouse"))
    run = RunFolder(storage, answer["run_id"])
    lists = published_lists(storage).to_pandas()
    assert not {"i0000", "i0001"} & set(lists.item_id)
    assert {"i0000", "i0001"} <= set(title_of(storage, run))
    assert run.done("recommend")["filtered"]["blocked"] == 2
    assert run.done("recommend")["filtered"]["unknown_block"] == 1
    assert "1 of the 3 ids to block are not in the catalog: never-heard-of" in log
    assert (lists.source[lists["rank"] == 5] == "exploration").all()
    assert run.done("recommend")["reranked"]["moved"]["exploration"] == len(lists[lists["rank"] == 5])

    fused = run.done("fuse")
    assert fused["users"] < MIN_USERS
    assert fused["weights"] == default_fusion(usual_signals()).weights
    assert f"the default weights are used: {fused['users']} of " in log
    assert f"and a fit needs {MIN_USERS}" in log

    # the published night answers whatever became of the list; a new night needs it
    blocked.unlink()
    code, again = run_job("nightly", "--config", config)
    assert (code, again["status"], again["run_id"]) == (0, "already_published", answer["run_id"])
    code, answer = run_job("nightly", "--config", config, "--set", "seed=1")
    assert code == 3
    assert answer["error"].startswith(f"rerank.block_file: {blocked} is no file")


def test_rules_that_leave_nothing_stop_the_night_before_training(write_config, run_job, tmp_path):
    config = write_config(rerank={"where": "category == 'nothing like it'"})
    code, answer = run_job("nightly", "--config", config)
    assert code == 2
    assert "none of the" in answer["error"]
    assert open_run(load_config(config)).folder.done("catalog") is None
    assert not (tmp_path / "warehouse" / "models").exists()


def test_a_catalog_without_any_available_item_stops_the_night(write_config, run_job, shop, tmp_path):
    """A wrong column name must not leave all users without a list."""
    items = pq.read_table(shop / "items.parquet")
    pq.write_table(items.append_column("hidden", pa.array([False] * len(items))), tmp_path / "items.parquet")
    read = {"path": str(tmp_path / "items.parquet"), "text": "{title}", "columns": {"available": "hidden"}}
    code, answer = run_job("nightly", "--config", write_config(inputs={"items": read}))
    assert code == 3
    assert f"none of the {len(items)} items of {tmp_path}/items.parquet is available" in answer["error"]
    assert "inputs.items.columns.available='hidden'" in answer["error"]


def test_a_killed_night_goes_on_where_it_was_cut_off(write_config, run_job, one_night, tmp_path):
    """It is trained in a process of its own and scored by two workers, and writes the bytes of the session's night."""
    config = write_config(recommend={"num_workers": 2})
    command = [sys.executable, "jobs/nightly.py", "--config", str(config), "--log-format", "json"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:  # each is one of ours: the engine's lines would be no JSON
        told = json.loads(line)
        if told.get("event") == "stage_begins" and told["stage"] == "recommend":
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.stderr.close()
    assert process.wait() != 0

    storage = Storage(str(tmp_path / "warehouse"))
    assert read_latest(storage) is None
    night = open_run(load_config(config))
    trained = night.folder.done("finetune")
    assert trained is not None
    check_visits(storage, night.folder)

    code, answer = run_job("nightly", "--config", config)
    assert (code, answer["run_id"]) == (0, night.folder.run_id)
    assert night.folder.done("finetune") == trained
    verify(storage, manifest_of(storage))

    assert answer["run_id"] == one_night[1]["run_id"]
    two, one = (
        {shard["name"]: shard["sha256"] for shard in manifest_of(each)["shards"]}
        for each in (storage, Storage(str(one_night[0])))
    )
    assert len(one) == 3
    assert one == two


def test_only_missing_shards_are_written_again(write_config, run_job, night_before, tmp_path):
    config = write_config()
    storage = Storage(str(tmp_path / "warehouse"))
    night = open_run(load_config(config))
    folder = next((tmp_path / "warehouse" / "recommendations").glob("run_date=*/run_id=*"))
    shards = sorted(folder.glob("shard-*.parquet"))
    before = {shard.name: (shard.stat().st_mtime_ns, shard.read_bytes()) for shard in shards}
    # as if the night had been interrupted before its last shard
    lost = shards[1]
    for path in (
        "recommendations/LATEST.json",
        f"{night.folder.dir}/published.json",
        night.folder.part_path("recommend", lost.stem),
        night.folder.stage_path("recommend"),
        night.folder.stage_path("publish"),
    ):
        storage.delete(path)
    lost.unlink()
    (folder / "_MANIFEST.json").unlink()

    code, second = run_job("nightly", "--config", config)
    assert (code, second["path"]) == (0, str(folder))
    assert night.folder.done("recommend")["resumed_shards"] == len(shards) - 1
    after = {shard.name: (shard.stat().st_mtime_ns, shard.read_bytes()) for shard in shards}
    assert after[lost.name][1] == before[lost.name][1]
    assert {name for name in before if after[name] != before[name]} == {lost.name}


def test_force_runs_a_published_night_again_beside_the_old_one(write_config, run_job, night_before, tmp_path):
    code, second = run_job("nightly", "--config", write_config(), "--force")
    assert (code, second["status"]) == (0, "published")
    assert second["run_id"] == f"{night_before['run_id']}-2"
    storage = Storage(str(tmp_path / "warehouse"))
    latest = read_latest(storage)
    assert latest is not None
    assert latest.run_id == second["run_id"]
    again = RunFolder(storage, second["run_id"])
    assert again.done("encode")["encoded"] == 0
    assert again.done("finetune")["warm_start"] == night_before["model_id"]
    assert again.done("gate")["compared_with"] == night_before["model_id"]
    published = published_before(storage, night_before["run_id"])
    assert published is not None
    verify(storage, read_manifest(storage, published))


def test_a_model_worse_than_popularity_is_not_published(write_config, run_job, tmp_path):
    untrained = {"epochs": 1, "learning_rate": 1e-9}
    config = write_config(train=untrained, recommend={"signals": ["returns"], "candidates": 80})  # the same for all
    code, answer = run_job("nightly", "--config", config)
    assert (code, answer["status"]) == (4, "refused")
    assert "significantly below popularity" in answer["error"]
    assert read_latest(Storage(str(tmp_path / "warehouse"))) is None
    run = open_run(load_config(config)).folder
    assert "significantly below popularity" in run.storage.read_bytes(run.report_path).decode()
    code, _ = run_job("nightly", "--config", config)
    assert code == 4

    # --force publishes what was refused, and the manifest says so
    refused = run.done("finetune")
    code, again = run_job("nightly", "--config", config, "--force")
    assert (code, again["status"], again["run_id"]) == (0, "published", run.run_id)
    assert (again["gate"], run.done("finetune")) == ("overridden", refused)
    gate = manifest_of(run.storage)["gate"]
    assert (gate["passed"], gate["overridden"], gate["verdict"]) == (False, ["quality"], "overridden")


def test_too_much_bad_input_stops_the_night(write_config, run_job, shop, tmp_path):
    inputs = load_config(write_config()).inputs.model_dump(mode="json")
    config = write_config(inputs=inputs | {"max_quarantine_rate": 0.0001})
    code, answer = run_job("nightly", "--config", config)
    assert code == 3
    assert "max_quarantine_rate" in answer["error"]
    assert "unknown_item" in answer["error"]
    storage = Storage(str(tmp_path / "warehouse"))
    assert read_latest(storage) is None
    run = open_run(load_config(config)).folder
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
    ],
    ids=["missing", "truncated", "no bytes", "no column in items", "no column in events"],
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


def test_a_wrong_command_starts_nothing(write_config, run_job, tmp_path):
    code, answer = run_job("nightly", "--config", write_config(), "--set", "recommend.top_k=0")
    assert code == 2
    assert answer["error"] == "recommend.top_k: must be ≥ 1, got 0"
    assert not (tmp_path / "warehouse").exists()


def test_a_second_run_of_the_same_night_is_kept_out(write_config, run_job):
    config = write_config()
    with lock(open_run(load_config(config)).folder):
        code, answer = run_job("nightly", "--config", config)
    assert code == 5
    assert str(os.getpid()) in answer["error"]


def test_a_dry_run_prints_the_plan_and_touches_nothing(write_config, run_job, capsys, tmp_path):
    code, answer = run_job("nightly", "--config", write_config(), "--dry-run")
    assert (code, answer["status"]) == (0, "planned")
    _, stages, gates = re.split(" (?:stages|gates) ", capsys.readouterr().err)[:3]
    assert re.findall(r"^│ (\w+) +│", stages, re.MULTILINE) == STAGES
    assert "runs/<run_id>/catalog.parquet" in stages
    assert str(tmp_path) not in stages  # the storage is named once, above
    assert "gate.min_users_ratio" in gates
    estimates = gates.partition("about what it takes")[2]
    assert re.findall(r"^│ (\w+) .* Online Retail │", estimates, re.MULTILINE) == STAGES
    assert not (tmp_path / "warehouse").exists()


def test_a_dry_run_estimates_from_the_last_night(write_config, run_job, night_before, capsys):
    code, _ = run_job("nightly", "--config", write_config(), "--dry-run", "--set", "seed=7")
    assert code == 0
    estimates = capsys.readouterr().err.partition("about what it takes")[2]
    measured = dict(re.findall(r"^│ (\w+) .*│ (last night|Online Retail) +│", estimates, re.MULTILINE))
    # the manifest is written before the stage that writes it ends
    assert measured == dict.fromkeys(STAGES, "last night") | {"publish": "Online Retail"}
    assert "where no night of this storage has the stage" in " ".join(estimates.split())
