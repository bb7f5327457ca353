"""Experiments and the analysts' tables over a finished night, without another one."""

import argparse
import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs.nightly import nightly
from jobs.start_service import load_live
from recsys.data.assignment import assign_arms
from recsys.errors import ConfigError, InputError
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.load_variants import load_variants
from recsys.ranking.experiment_config import Experiment
from recsys.ranking.variants import recommend_variants
from recsys.schema import ITEM_REPORT, METRICS
from recsys.serving.contracts import RecommendationRequest
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.manifest import read_manifest, verify
from recsys.storage.runs import RunFolder
from tests.conftest import tiny_config

ARMS = [
    {"name": "same", "share": 0.3},
    {"name": "tail", "share": 0.3, "rerank": {"long_tail_boost": 2.0}},
    {"name": "other", "share": 0.3, "model": "copied"},
]


@pytest.fixture(scope="module")
def night(one_night: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the night whose config has an experiment, and whose model is there twice."""
    folder = tmp_path_factory.mktemp("experiment") / "warehouse"
    shutil.copytree(one_night[0], folder)
    run = stored_run(RunFolder(Storage(str(folder)), one_night[1]["run_id"]))
    shutil.copytree(folder / "models" / run.published_id, folder / "models" / "copied")
    experiment = Experiment.model_validate({"name": "boost", "arms": ARMS})
    config = run.config.model_copy(update={"storage": str(folder), "experiments": [experiment]})
    run.folder.write_config(config.to_yaml())
    return replace(run, config=config)


def published(run: Run) -> pa.Table:
    shards = read_manifest(run.storage, latest := require_latest(run.storage))["shards"]
    return pa.concat_tables(pq.read_table(run.storage.path(latest.path, shard["name"])) for shard in shards)


def test_only_the_lists_of_an_arm_that_changes_something_differ(night: Run) -> None:
    histories = pq.read_table(night.storage.path(night.folder.histories_dir))
    variants = load_variants(night, night.published_id, night.config.recommend)
    assert set(variants.snapshots) == {"default", "boost/same", "boost/tail", "boost/other"}
    assert variants.snapshots["boost/same"].signals is variants.default.signals
    made = recommend_variants(variants, histories, night.config.recommend).lists
    changed: dict[str, list[bool]] = {name: [] for name in variants.snapshots}
    before = published(night)
    for user in pc.unique(made["user_id"]).to_pylist():
        ours, theirs = (lists.filter(pc.equal(lists["user_id"], user)) for lists in (made, before))
        changed[ours["variant"][0].as_py()].append(ours["item_id"] != theirs["item_id"])
    assert all(len(users) > 20 for users in changed.values())
    assert not any(changed["default"] + changed["boost/same"] + changed["boost/other"])
    assert np.mean(changed["boost/tail"]) > 0.5
    arms = assign_arms(histories["user_id"], "boost", [0.3, 0.3, 0.3])
    assert len(changed["boost/tail"]) == int((arms == 1).sum())


def test_the_live_service_ranks_new_users_by_their_arm(night: Run) -> None:
    live = load_live(night.storage, require_latest(night.storage))
    names = ["boost/same", "boost/tail", "boost/other", "default"]
    ids = [f"new{number}" for number in range(40)]
    requests = [RecommendationRequest(user_id=user) for user in ids] + [RecommendationRequest()]
    answers = live.answer(requests, dt.datetime(2026, 11, 23, tzinfo=dt.UTC))
    arms = assign_arms(pa.array(ids), "boost", [0.3, 0.3, 0.3]).tolist()
    assert [answer.variant for answer in answers] == [names[arm] for arm in arms] + ["default"]
    lists = {name: [i.item_id for i in next(a for a in answers if a.variant == name).items] for name in names}
    assert lists["boost/same"] != lists["boost/tail"]
    known = published(night)["user_id"][0].as_py()
    stored = live.published_list(known, None, dt.datetime(2026, 11, 23, tzinfo=dt.UTC))
    assert stored is not None
    assert stored.variant == "default", "its list was made before the experiment"


def test_a_model_that_is_not_there_is_refused_before_anything_starts(shop: Path, tmp_path: Path) -> None:
    experiments = [
        {"name": "models", "arms": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "model": "m7"}]}
    ]
    config = decode_config(tiny_config(shop, tmp_path / "warehouse", experiments=experiments))
    with pytest.raises(ConfigError, match=r"experiments\.0\.arms\.1\.model: .*models/m7 holds no model"):
        nightly(config, argparse.Namespace(dry_run=False, force=False))
    assert not (tmp_path / "warehouse").exists()


def test_a_model_beside_an_encoder_that_is_trained_is_refused_before_anything_starts(
    shop: Path, tmp_path: Path
) -> None:
    """The lists of the night would be refused after the training, since the two read different vectors."""
    arms = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "model": "m7"}]
    settings = {"experiments": [{"name": "models", "arms": arms}], "encoder": {"train": "lora"}}
    config = decode_config(tiny_config(shop, tmp_path / "warehouse", **settings))
    Storage(config.storage).write_bytes("models/m7/model.json", b"{}")
    with pytest.raises(
        ConfigError, match=r"experiments\.0\.arms\.1\.model: m7 reads another text encoder .*train=lora"
    ):
        nightly(config, argparse.Namespace(dry_run=False, force=False))
    assert Storage(config.storage).folders("") == ("models",)


def test_the_night_has_tables_for_analysts(night: Run) -> None:
    manifest = read_manifest(night.storage, require_latest(night.storage))
    tables = {name: pq.read_table(night.storage.path(table["path"])) for name, table in manifest["tables"].items()}
    metrics, items = tables["metrics"], tables["item_report"]
    assert (metrics.schema, items.schema) == (METRICS, ITEM_REPORT)
    found = {(row["metric"], row["segment"]): row for row in metrics.to_pylist()}
    gate, check = (night.folder.done(name) or {} for name in ("gate", "check"))
    assert found["ndcg@10", "all"]["value"] == pytest.approx(gate["details"]["model"], abs=1e-5)
    assert found["ndcg@10_difference", "popularity"]["low"] < found["ndcg@10_difference", "popularity"]["high"]
    assert found["coverage", "all"]["value"] == check["figures"]["coverage"]
    assert found["quarantined", "events"]["value"] == (night.folder.done("ingest") or {})["quarantined"]
    assert {row["run_date"] for row in metrics.to_pylist()} == {night.date}

    lists = published(night)
    rows = {row["item_id"]: row for row in items.to_pylist()}
    assert sum(row["num_lists"] for row in rows.values()) == len(lists)
    assert {item for item, row in rows.items() if row["num_lists"]} == set(lists["item_id"].to_pylist())
    assert all(row["num_top_10"] == row["num_lists"] for row in rows.values()), "a list has five places"
    week = pq.read_table(night.storage.path(night.item_counts_path("full_7d")))
    assert sum(row["num_taken"] for row in rows.values()) == pc.sum(week["num"]).as_py()
    assert 0 < sum(row["is_new"] for row in rows.values()) < len(rows)
    assert all(row["is_tail"] for row in rows.values() if row["is_new"])
    verify(night.storage, manifest)


def test_a_changed_table_is_found(one_night: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shutil.copytree(one_night[0], tmp_path / "warehouse")
    storage = Storage(str(tmp_path / "warehouse"))
    manifest = read_manifest(storage, require_latest(storage))
    storage.write_bytes(f"{manifest['tables']['metrics']['path']}/part-00000.parquet", b"other")
    with pytest.raises(InputError, match=r"metrics/.*part-00000.parquet: has 5 bytes, the manifest says"):
        verify(storage, manifest)
