"""Tests the cases of sequences, and the linear peer that was written for them."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

HERE = Path(__file__).parent
SEQUENCES = {f"u{user:02d}": [f"i{(user * 3 + place * 7) % 23:02d}" for place in range(5)] for user in range(40)}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Import a script of the benchmarks or of a peer by its file name."""
    for folder in (HERE / "peers", HERE):
        monkeypatch.syspath_prepend(str(folder))

    def named(name: str) -> ModuleType:
        return importlib.import_module(name)

    return named


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of raw data with one set."""
    folder = tmp_path / "data" / "sequences" / "toys"
    folder.mkdir(parents=True)
    table = pd.DataFrame({"user_id": list(SEQUENCES), "item_ids": list(SEQUENCES.values())})
    table.to_parquet(folder / "sequences.parquet")
    ids = sorted({item for own in SEQUENCES.values() for item in own})
    titles = ["" if item == "i02" else f"Title {item}" for item in ids]
    categories = ["" if item < "i10" else "Puzzles" for item in ids]
    pd.DataFrame({"item_id": ids, "title": titles, "category": categories}).to_parquet(folder / "items.parquet")
    return tmp_path / "data"


def test_the_last_item_is_the_target_and_made_up_times_keep_the_order(load, data):
    sequences = load("sequences")
    split = sequences.sequence_split(data, "toys")
    known = split.events.sort_values(["user_id", "timestamp"]).groupby("user_id").item_id.agg(list)
    assert known.to_dict() == {user: items[:-1] for user, items in SEQUENCES.items()}
    assert dict(split.cases["toys"].truth.to_numpy()) == {user: items[-1] for user, items in SEQUENCES.items()}
    last = split.events.groupby("user_id").timestamp.max()
    assert last.between(sequences.LAST_DAY, sequences.LAST_DAY + pd.Timedelta(days=100)).all()
    assert last.nunique() == len(SEQUENCES)
    texts = dict(split.items.to_numpy())
    assert (texts["i01"], texts["i02"], texts["i12"]) == ("Title i01", "unknown", "Title i12. Puzzles")


def test_a_tenth_of_the_users_comes_with_the_items_that_they_had(load, data):
    split = load("sequences").sequence_split(data, "toys-tenth")
    truth = split.cases["toys-tenth"].truth
    assert len(truth) == 4
    assert set(split.events.user_id) == set(truth.user_id)
    assert set(split.items.item_id) == set(split.events.item_id) | set(truth.item_id)


def test_withheld_items_of_sequences_are_the_only_targets(load, data):
    sequences = load("sequences")
    split = sequences.sequence_split(data, "toys-cold-items")
    truth = split.cases["toys-cold-items"].truth
    withheld = set(split.items.item_id) - set(split.events.item_id)
    assert len(withheld) == 2
    assert set(truth.item_id) == withheld
    whole = sequences.sequence_split(data, "toys").cases["toys"].truth
    assert set(truth.user_id) == set(whole[whole.item_id.isin(withheld)].user_id)


def test_each_case_has_peers_of_its_kind(load):
    systems = load("peer_systems").PEER_SYSTEMS
    measured = {
        case: {name for name, peer in systems.items() if peer.measures(case)}
        for case in ("ml100k", "cold-items", "toys", "toys-tenth", "toys-cold-items")
    }
    assert measured["ml100k"] == measured["cold-items"]
    assert measured["toys"] == measured["toys-tenth"]
    assert measured["toys-cold-items"] == {"cosine of texts, MiniLM"}
    assert measured["toys"] & measured["ml100k"] == {"popularity (RecTools)", "item kNN, BM25 (implicit)"}
    assert "SASRec, sampled softmax (RecTools)" in measured["toys"]


def test_ease_in_place_and_in_blocks_is_ease(load, data, tmp_path, monkeypatch):
    cases, sequences, peer = load("cases"), load("sequences"), load("sparse_ease")
    cases.write_split(sequences.sequence_split(data, "toys"), tmp_path / "split")
    task = load("case_files").read_task(tmp_path / "split", seed=0, top_k=5, quick=True)
    monkeypatch.setattr(peer, "BLOCK", 7)
    seen = peer.history_rows(task, 1.0)
    inverse = np.linalg.inv(seen.T.toarray() @ seen.toarray() + peer.L2 * np.eye(task.num_items))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(peer.item_weights(seen, peer.L2), expected, atol=1e-5)

    scores = seen.toarray() @ expected
    scores[seen.toarray() > 0] = -np.inf
    np.testing.assert_array_equal(np.isfinite(scores).sum(axis=1), task.num_items - 4)
    lists = peer.ease(task)(exclude_seen=True)
    assert lists.shape == (len(SEQUENCES), 5)
    found = np.take_along_axis(scores, lists, axis=1)
    np.testing.assert_allclose(found, -np.sort(-scores, axis=1)[:, :5], atol=1e-5)
    rows = peer.history_rows(task, 0.5)
    assert sorted(set(rows.data.tolist())) == [0.125, 0.25, 0.5, 1.0]


def test_all_cases_stand_side_by_side(load):
    ablation, judge = load("ablation"), load("judge")

    def judged(*values: float) -> list[object]:
        ndcg = np.array(values)
        return [judge.Judged(ndcg=ndcg, hitrate=ndcg, tail_ndcg=ndcg, coverage=0.5)]

    first = {ablation.FULL: judged(0.4, 0.6), "without texts": judged(0.3, 0.5), "best peer: EASE": judged(0.2, 0.3)}
    second = {ablation.FULL: judged(0.1, 0.3)}
    numbers = {
        "toys": ablation.report("toys", first, share=0.8)[1],
        "ml100k": ablation.report("ml100k", second, share=0.25)[1],
    }
    assert json.loads(json.dumps(numbers)) == numbers
    row = numbers["toys"]["variants"]["without texts"]
    assert row["difference"] == pytest.approx(0.1)
    assert ablation.side_by_side(numbers).splitlines() == [
        "| | toys | ml100k |",
        "| --- | ---: | ---: |",
        "| full | 0.5000 | 0.2000 |",
        "| without texts | 0.4000 +0.1000 [+0.1000, +0.1000]; +25% |  |",
        "| best peer | 0.2500 (EASE) +0.2500 [+0.2000, +0.3000]; +100% |  |",
        "| time of the night for ranker and texts | 80% | 25% |",
    ]


def test_a_variant_changes_the_night_only_where_it_must(load):
    ablation = load("ablation")
    assert ablation.VARIANTS["ranker alone"].changes == ("recommend.signals=[ranker]",)
    assert "text" not in ablation.VARIANTS["without ranker and texts"].changes[0]
    assert "ease" in ablation.VARIANTS["without ranker and texts"].changes[0]
    own = {name for name, variant in ablation.VARIANTS.items() if variant.own_night}
    assert not own & set(ablation.USUAL)
    assert ablation.language_share({"finetune": 3.0, "encode": 1.0, "recommend": 4.0}) == 0.5
