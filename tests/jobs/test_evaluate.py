"""Offline evaluation of a trained night, on a real Ray. The test computes the figures again from the same tables."""

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from recsys.evaluation.slices import HISTORY_LENGTHS, SLICES
from recsys.pipeline.measuring.measure_shard import TAILS
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest
from recsys.storage.runs import RunFolder

#: The seven newest days of the shop are held out.
CUTOFF = pd.Timestamp("2026-11-16", tz="UTC")


def test_a_trained_night_is_measured_in_depth(write_config, run_job, night_before, tmp_path):
    code, figures = run_job("evaluate", "--config", write_config(), "--run", night_before["run_id"])
    assert (code, figures["status"], figures["protocol"]) == (0, "evaluated", "time")
    run = RunFolder(Storage(str(tmp_path / "warehouse")), night_before["run_id"])
    events = ds.dataset(tmp_path / "warehouse" / run.dir / "interactions").to_table().to_pandas()
    catalog = pq.read_table(tmp_path / "warehouse" / run.dir / "catalog.parquet")
    train = events[events.timestamp < CUTOFF]
    pairs = train[["user_id", "item_id"]].drop_duplicates()
    held_out = events[events.timestamp >= CUTOFF][["user_id", "item_id"]].drop_duplicates()
    held_out = held_out.merge(pairs, how="left", indicator=True).query("_merge == 'left_only'")
    wanted = held_out[held_out.user_id.isin(train.user_id)]
    later = events[(events.timestamp >= CUTOFF) & events.user_id.isin(train.user_id)]
    assert run.done("histories")["held_out_users"] == later.user_id.nunique()

    # all users: the figures of the gate for the same users, and means that fit together
    ours, popularity = figures["ranker"], figures["popularity"]
    gate = run.done("gate")
    assert figures["users"] == gate["rows"] == wanted.user_id.nunique()
    assert ours["ndcg@10"] == round(gate["details"]["model"], 4)
    assert popularity["ndcg@10"] == round(gate["details"]["baselines"]["popularity"]["mean"], 4)
    assert ours["ndcg@10"] > popularity["ndcg@10"] > 0
    assert ours["longtail_share@20"] > popularity["longtail_share@20"]
    assert ours["average_popularity@20"] < popularity["average_popularity@20"] <= train.groupby("item_id").size().max()
    assert ours["novelty@20"] > popularity["novelty@20"] > 0
    assert 0 < popularity["coverage@20"] < ours["coverage@20"] <= 1
    assert 0 <= ours["gini@20"] < popularity["gini@20"] <= 1
    assert 0 < ours["diversity@20"] < 2
    assert set(ours) == set(popularity) == {*figures["difference"], "coverage@20", "gini@20"}
    for metric, difference in figures["difference"].items():
        assert difference["low"] <= difference["mean"] <= difference["high"]
        assert difference["mean"] == pytest.approx(ours[metric] - popularity[metric], abs=2e-4)

    # each slice has the users that it names; some slices together have all users
    slices = figures["slices"]
    assert tuple(slices) == SLICES
    num_events = train.groupby("user_id").size()[wanted.user_id.unique()]
    for name, (fewest, most) in HISTORY_LENGTHS.items():
        assert slices[name]["users"] == num_events.between(fewest, most or 10**9).sum()
    counts = train.groupby("item_id").size().reindex(catalog["item_id"].to_pylist(), fill_value=0)
    head = counts.sort_values(ascending=False, kind="stable").index[: len(counts) // 5]  # 16 of 80
    assert slices["long-tail items"]["users"] == wanted[~wanted.item_id.isin(head)].user_id.nunique() > 0
    assert slices["cold items"]["users"] == wanted[~wanted.item_id.isin(train.item_id)].user_id.nunique()
    parts = [slices[name] for name in HISTORY_LENGTHS if slices[name]["users"]]
    assert len(parts) > 1
    for ranker in ("ranker", "popularity"):
        total = sum(part["users"] * part[ranker] for part in parts)
        assert total / figures["users"] == pytest.approx(figures[ranker][figures["slice_metric"]], abs=1e-4)
    cold = held_out[~held_out.user_id.isin(train.user_id)].groupby("user_id").item_id.agg(set)
    week = train[train.timestamp >= CUTOFF - pd.Timedelta(days=7)].groupby("item_id").size()
    popular = week.sort_index().sort_values(ascending=False, kind="stable").index[:10]
    gains = 1 / np.log2(np.arange(2, 12))
    ndcg = [gains[popular.isin(items)].sum() / gains[: len(items)].sum() for items in cold]
    assert len(ndcg) == slices["cold users"]["users"] > 0
    assert slices["cold users"]["popularity"] > 0
    assert slices["cold users"]["popularity"] == pytest.approx(np.mean(ndcg), abs=1e-4)

    # the long-tail boost: 0 gives the same lists, and more gives rarer items
    frontier = figures["tail_frontier"]
    assert [point["tail"] for point in frontier] == list(TAILS)
    for metric in ("ndcg@10", "coverage@20", "longtail_share@20", "average_popularity@20"):
        assert frontier[0][metric] == ours[metric]
    assert frontier[0]["ndcg@10 of long-tail items"] == slices["long-tail items"]["ranker"]
    popular = [point["average_popularity@20"] for point in frontier]
    assert popular == sorted(popular, reverse=True)
    assert popular[-1] < popular[0]

    # what it writes: the figures beside the run's records, and how many users had each item
    left = run.storage.read_json(f"{run.dir}/evaluation-time.json")
    assert left == {key: value for key, value in figures.items() if key in left}
    users = pq.read_table(tmp_path / "warehouse" / run.dir / "item_users.parquet").to_pandas()
    assert users.set_index("item_id").num.to_dict() == pairs.groupby("item_id").size().to_dict()
    assert not run.storage.list(f"{run.dir}/item_users")


def test_nobody_to_measure_is_said(write_config, run_job, night_before):
    arguments = ("--config", write_config(), "--run", night_before["run_id"], "--max-users")
    code, answer = run_job("evaluate", *arguments, "1")
    assert code == 3
    assert "--max-users 1" in answer["error"]
    code, answer = run_job("evaluate", *arguments, "0")
    assert code == 2
    assert answer["error"] == "--max-users: must be ≥ 1, got 0"


def test_leave_one_out_is_a_backtest_of_its_own(write_config, run_job, tmp_path):
    config = write_config()
    code, figures = run_job("evaluate", "--config", config, "--protocol", "leave-one-out")
    assert (code, figures["protocol"]) == (0, "leave-one-out")
    assert figures["users"] > 100
    assert figures["ranker"]["ndcg@10"] > figures["popularity"]["ndcg@10"]
    assert sum(figures["slices"][name]["users"] for name in HISTORY_LENGTHS) == figures["users"]
    nobody = {"users": 0, "ranker": None, "popularity": None, "difference": None}
    assert figures["slices"]["cold users"] == nobody  # who has a last event and no other one stays in training
    assert read_latest(Storage(str(tmp_path / "warehouse"))) is None
    # the run says how it was trained: it is measured again as the backtest that it is, and as nothing else
    code, again = run_job("evaluate", "--config", config, "--run", figures["run_id"])
    assert (code, again["protocol"], again["ranker"]) == (0, "leave-one-out", figures["ranker"])
    code, refused = run_job("evaluate", "--config", config, "--protocol", "time", "--run", figures["run_id"])
    assert code == 2
    assert "was trained for --protocol leave-one-out" in refused["error"]
