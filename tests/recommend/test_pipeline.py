"""Lists: what every table of recommendations holds to, whoever the users are.

Shapes: I items, K list length.
"""

import dataclasses
import datetime as dt
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys.config import RankerConfig, RecommendConfig
from recsys.model.ranker import Ranker, RankerSpec, decoder_config
from recsys.recommend.pipeline import Snapshot, as_recommendations, recommend_batch
from recsys.schema import HISTORIES, RECOMMENDATIONS

IDS = [f"i{number:02}" for number in range(12)]
UNAVAILABLE = {"i03", "i10"}
AVAILABLE = [item for item in IDS if item not in UNAVAILABLE]
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SIZES = RankerConfig(hidden_size=8, layers=1, heads=2, dropout=0.3, id_dropout=0.3)

Lists = dict[str, list[dict[str, Any]]]


def make_snapshot(available: list[bool] | None = None, prior: torch.Tensor | None = None) -> Snapshot:
    texts = torch.randn(len(IDS), 5, generator=torch.Generator().manual_seed(0))
    spec = RankerSpec(
        num_items=len(IDS),
        text_dim=5,
        item_dim=8,
        num_event_kinds=1,
        decoder=decoder_config(SIZES, 4),
        dropout=SIZES.dropout,
        id_dropout=SIZES.id_dropout,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ranker = Ranker(spec, texts, torch.ones(len(IDS), dtype=torch.bool)).eval()
        torch.nn.init.normal_(ranker.id_embedding.weight)
    open_items = pa.array(available if available is not None else [item not in UNAVAILABLE for item in IDS])
    return Snapshot.build(ranker, pa.array(IDS), open_items, ["view"], max_length=4, prior=prior)


SNAPSHOT = make_snapshot()

users = st.tuples(
    st.lists(st.sampled_from([*IDS, "gone"]), max_size=7),
    st.lists(st.sampled_from([*IDS, "gone"]), max_size=12, unique=True),
)


def as_histories(rows: list[tuple[list[str], list[str]]]) -> pa.Table:
    """Users with these histories, who saw these items too."""
    return pa.Table.from_pylist(
        [
            {
                "user_id": f"u{number}",
                "item_ids": items,
                "timestamps": [EPOCH + dt.timedelta(hours=place) for place in range(len(items))],
                "events": ["view"] * len(items),
                "weights": [1.0] * len(items),
                "seen_item_ids": sorted({*items, *seen}),
            }
            for number, (items, seen) in enumerate(rows)
        ],
        schema=HISTORIES,
    )


def by_user(table: pa.Table) -> Lists:
    lists: Lists = defaultdict(list)
    for row in table.to_pylist():
        lists[row["user_id"]].append(row)
    return lists


def config(top_k: int = 5, candidates: int = 20, exclude_seen: bool = True) -> RecommendConfig:
    return RecommendConfig(top_k=top_k, candidates=candidates, exclude_seen=exclude_seen)


@given(st.lists(users, max_size=4), st.integers(1, 14), st.integers(0, 10), st.booleans())
def test_every_list_holds_to_the_contract(
    rows: list[tuple[list[str], list[str]]], top_k: int, spare: int, exclude_seen: bool
) -> None:
    histories = as_histories(rows)
    table = recommend_batch(SNAPSHOT, histories, config(top_k, top_k + spare, exclude_seen))
    assert table.schema.equals(RECOMMENDATIONS, check_metadata=True)
    table.validate(full=True)
    order = list(dict.fromkeys(table["user_id"].to_pylist()))
    assert order == [user for user in histories["user_id"].to_pylist() if user in order]
    for number, (items, seen) in enumerate(rows):
        found = by_user(table)[f"u{number}"]
        left_out = {*items, *seen} if exclude_seen else set()
        assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
        assert len(found) == min(top_k, len([item for item in AVAILABLE if item not in left_out]))
        names = [row["item_id"] for row in found]
        assert len(set(names)) == len(names)
        assert not {*names} & (left_out | UNAVAILABLE)
        keys = [(-row["score"], row["item_id"]) for row in found]
        assert keys == sorted(keys)
        assert all(row["score"] <= 0 for row in found)
        assert {(row["source"], row["variant"]) for row in found} <= {("ranker", "default")}
        assert all(row["reason"] for row in found)


@given(st.lists(users, min_size=1, max_size=4))
def test_scores_are_log_probabilities(rows: list[tuple[list[str], list[str]]]) -> None:
    """Over what may be recommended: left out or not, an item has the same P, and all of them are 1."""
    histories = as_histories(rows)
    whole = by_user(recommend_batch(SNAPSHOT, histories, config(12, 12, exclude_seen=False)))
    part = by_user(recommend_batch(SNAPSHOT, histories, config(3, 4, exclude_seen=True)))
    for user, found in whole.items():
        assert sum(np.exp(row["score"]) for row in found) == pytest.approx(1, abs=1e-5)
        score = {row["item_id"]: row["score"] for row in found}
        assert [row["score"] for row in part[user]] == pytest.approx([score[row["item_id"]] for row in part[user]])


def test_scores_are_those_of_the_ranker() -> None:
    histories = as_histories([(["i00", "i04"], [])])
    table = recommend_batch(SNAPSHOT, histories, config(12, 12, exclude_seen=False))
    items, gaps, events = torch.tensor([[0, 4]]), torch.tensor([[0, 12]]), torch.tensor([[1, 1]])
    with torch.no_grad():
        user, vectors = SNAPSHOT.ranker(items, gaps, events)
    rows = [IDS.index(item) for item in AVAILABLE]
    expected = dict(zip(AVAILABLE, (vectors[rows] @ user[0]).log_softmax(dim=0).tolist(), strict=True))
    found = {row["item_id"]: row["score"] for row in table.to_pylist()}
    assert found == pytest.approx(expected, abs=1e-5)


@hypothesis_settings(max_examples=30)
@given(st.lists(users, min_size=2, max_size=5), st.booleans())
def test_a_batch_equals_its_users_one_at_a_time(rows: list[tuple[list[str], list[str]]], exclude_seen: bool) -> None:
    histories = as_histories(rows)
    settings = config(4, 6, exclude_seen)
    together = by_user(recommend_batch(SNAPSHOT, histories, settings))
    reversed_order = by_user(recommend_batch(SNAPSHOT, histories.take(list(range(len(rows)))[::-1]), settings))
    for number in range(len(rows)):
        alone = by_user(recommend_batch(SNAPSHOT, histories.slice(number, 1), settings))[f"u{number}"]
        for other in (together[f"u{number}"], reversed_order[f"u{number}"]):
            assert [row["item_id"] for row in other] == [row["item_id"] for row in alone]
            assert [row["score"] for row in other] == pytest.approx([row["score"] for row in alone], abs=1e-5)


@pytest.mark.parametrize("candidates", [2, 3, 20])
def test_equals_come_by_item_id(candidates: int) -> None:
    """Also where they meet the cut between what is retrieved and what is not."""
    equal = dataclasses.replace(SNAPSHOT, candidate_vectors=torch.zeros_like(SNAPSHOT.candidate_vectors))
    lists = by_user(recommend_batch(equal, as_histories([(["i00"], ["i04"]), ([], [])]), config(2, candidates)))
    assert [row["item_id"] for row in lists["u0"]] == ["i01", "i02"]
    assert [row["item_id"] for row in lists["u1"]] == ["i00", "i01"]
    assert {row["score"] for row in lists["u0"]} == {np.float32(-np.log(len(AVAILABLE))).item()}


def test_nobody_and_nothing() -> None:
    nobody = recommend_batch(SNAPSHOT, HISTORIES.empty_table(), config())
    assert nobody.schema.equals(RECOMMENDATIONS)
    assert len(nobody) == 0
    closed = recommend_batch(make_snapshot([False] * len(IDS)), as_histories([(["i00"], [])]), config())
    assert closed.schema.equals(RECOMMENDATIONS)
    assert len(closed) == 0


def test_who_saw_everything_gets_no_rows_and_shifts_nobody() -> None:
    rows = [(["i00"], []), (["i01"], IDS), (["i02"], [])]
    table = recommend_batch(SNAPSHOT, as_histories(rows), config(3))
    assert table["user_id"].to_pylist() == ["u0"] * 3 + ["u2"] * 3
    everyone = recommend_batch(SNAPSHOT, as_histories(rows), config(3, exclude_seen=False))
    assert everyone["user_id"].to_pylist() == ["u0"] * 3 + ["u1"] * 3 + ["u2"] * 3


def test_whose_items_are_all_unknown_gets_what_a_new_user_gets() -> None:
    table = by_user(recommend_batch(SNAPSHOT, as_histories([(["gone", "lost"], []), ([], [])]), config(8)))
    assert [row["item_id"] for row in table["u0"]] == [row["item_id"] for row in table["u1"]]
    assert len(table["u0"]) == 8


def test_tables_in_slices_and_chunks_are_no_different() -> None:
    histories = as_histories([(["i00"], ["i01"]), (["i02", "i04"], ["i06"]), ([], []), (["i07"], ["i00", "i09"])])
    whole = by_user(recommend_batch(SNAPSHOT, histories, config()))
    chunked = pa.concat_tables([histories.slice(1, 2), histories.slice(3), histories.slice(0, 1)])
    parts = by_user(recommend_batch(SNAPSHOT, chunked, config()))
    assert list(parts) == ["u1", "u2", "u3", "u0"]
    for user, found in whole.items():
        assert [row["item_id"] for row in parts[user]] == [row["item_id"] for row in found]


@given(st.integers(1, 9), st.data())
def test_candidates_become_ranked_lists(top_k: int, data: st.DataObject) -> None:
    """Scores as they come, with equals and with −inf for none, in any order of the candidates."""
    row = st.lists(st.sampled_from([-np.inf, -3.0, -1.5, 0.0]), min_size=6, max_size=6)
    scores = np.array(data.draw(st.lists(row, min_size=1, max_size=3)), dtype=np.float32)
    items = np.array([data.draw(st.permutations(range(6))) for _ in scores], dtype=np.int64)
    names = pa.chunked_array([[f"u{number}"] for number in range(len(scores))])
    table = as_recommendations(names, pa.array(IDS), items, scores, top_k, source="s", reason="r")
    for number, (own, values) in enumerate(zip(items, scores, strict=True)):
        real = [(-float(value), IDS[item]) for item, value in zip(own, values, strict=True) if np.isfinite(value)]
        found = [(-row["score"], row["item_id"]) for row in by_user(table)[f"u{number}"]]
        assert found == sorted(real)[:top_k]


def test_a_prior_multiplies_the_probabilities() -> None:
    """P ∝ exp(logit) · exp(prior), over the items that may be recommended."""
    config = RecommendConfig(top_k=len(IDS), candidates=len(IDS), exclude_seen=False)
    prior = torch.linspace(0, 2, len(IDS))
    histories = as_histories([(["i01", "i02"], [])])
    plain, shifted = (
        {row["item_id"]: row["score"] for row in recommend_batch(snapshot, histories, config).to_pylist()}
        for snapshot in (SNAPSHOT, make_snapshot(prior=prior))
    )
    weights = {item: math.exp(plain[item] + float(prior[IDS.index(item)])) for item in plain}
    total = sum(weights.values())
    assert shifted == pytest.approx({item: math.log(weight / total) for item, weight in weights.items()}, abs=1e-5)
