"""The explained lists are the published ones, and each score is the sum of its contributions."""

import io
from dataclasses import replace

import numpy as np
import pyarrow.dataset as ds
import pytest
from rich.console import Console

from jobs import explain
from recsys.pipeline.published_night import open_night
from recsys.ranking.business_config import Boost
from recsys.signals.registry import SIGNALS, usual_signals
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest

#: Column → the signal that has it.
SIGNAL_OF = {column: signal.name for signal in usual_signals() for column in signal.columns}


def test_contributions_are_those_of_the_published_lists(write_config, run_job, night_before, tmp_path):
    latest = read_latest(Storage(str(tmp_path / "warehouse")))
    lists = ds.dataset(tmp_path / "warehouse" / latest.path, format="parquet").to_table().to_pandas()
    users = list(dict.fromkeys(lists.user_id))[:7:3]
    histories = ds.dataset(tmp_path / "warehouse" / "histories" / latest.run_id, format="parquet").to_table()
    had = set(histories["item_ids"].combine_chunks().flatten().to_pylist())
    code, answer = run_job("explain", "--config", write_config(), *users)
    assert (code, answer["status"], answer["run_id"]) == (0, "explained", night_before["run_id"])
    published = lists[lists.user_id.isin(users)].set_index(["user_id", "rank"])
    assert [row["user_id"] for row in answer["lists"]] == sorted(
        (row["user_id"] for row in answer["lists"]), key=users.index
    )
    assert len(answer["lists"]) == len(published)
    for row in answer["lists"]:
        own = published.loc[(row["user_id"], row["rank"])]
        assert (row["item_id"], row["source"], row["reason"]) == (own.item_id, own.source, own.reason)
        assert row["score"] == pytest.approx(own.score, abs=1e-5)
        assert tuple(row["contributions"]) == tuple(SIGNAL_OF)
        lifts = dict.fromkeys(SIGNAL_OF.values(), 0.0)
        for name, value in row["contributions"].items():
            imputed = row["item_id"] not in had and SIGNALS[SIGNAL_OF[name]].imputed  # from items with similar text
            lifts["text" if imputed else SIGNAL_OF[name]] += value
        if row["source"] not in ("ranker", "exploration"):
            assert lifts[row["source"]] == pytest.approx(max(lifts.values()), abs=1e-3), "what lifts it most"


def test_on_a_terminal_every_number_is_shown_with_its_name(write_config, run_job, night_before, monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(explain, "console", Console(file=page, width=80))
    code, answer = run_job("explain", "--config", write_config(), "u00007")
    assert code == 0
    shown = " ".join(page.getvalue().replace("│", " ").split())
    for name, lift in answer["lists"][0]["contributions"].items():
        assert (name in shown) or abs(lift) < 0.01
    assert "…" not in shown


def test_python_says_what_the_rules_changed_in_each_score(one_night):
    night = open_night(str(one_night[0]))
    history = night.history(["i0003", "i0017"])
    plain = night.recommend(history)
    assert [item.rules for item in plain] == [0] * len(plain)
    config = night.run.config
    rerank = config.rerank.model_copy(update={"boosts": [Boost(items=[plain[-1].item_id], factor=1e6)]})
    boosted = replace(night, run=replace(night.run, config=config.model_copy(update={"rerank": rerank})))
    first, *others = boosted.recommend(history)
    assert (first.item_id, first.base) == (plain[-1].item_id, pytest.approx(plain[-1].base, abs=1e-4))
    assert first.rules == pytest.approx(np.log(1e6), abs=1e-4)
    assert [item.rules for item in others] == [0] * len(others)


def test_who_is_not_known_is_named(write_config, run_job, night_before):
    code, answer = run_job("explain", "--config", write_config(), "nobody")
    assert code == 3
    assert answer["error"].startswith(f"user 'nobody': not known in run {night_before['run_id']}")


def test_where_nothing_is_published_it_says_what_to_do(write_config, run_job, tmp_path):
    code, answer = run_job("explain", "--config", write_config(tmp_path / "empty"), "u1")
    assert code == 3
    assert "run jobs/nightly.py" in answer["error"]
