"""Lists: what every table of recommendations holds to, whoever the users are.

Shapes: B users, I items, K list length, S signals.
"""

import dataclasses
import datetime as dt
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.features import UserTexts
from recsys.model.ranker import Ranker
from recsys.model.ranker_spec import RankerSpec
from recsys.ranking import lists as pipeline
from recsys.ranking.config import RecommendConfig, RerankConfig
from recsys.ranking.fusion import Fusion
from recsys.ranking.lists import (
    SEARCH_WEIGHT,
    Wishes,
    as_recommendations,
    fused_scores,
    recommend_batch,
    scored_blocks,
    user_weights,
    weights_among_new,
)
from recsys.ranking.rerank import Reranker
from recsys.ranking.snapshot import Snapshot
from recsys.schema import HISTORIES, LENDERS, PROFILE, RECOMMENDATIONS, TEXTS
from recsys.signals.donors import Lending
from recsys.signals.item_features import Beside
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import HORIZONS
from recsys.signals.retrieve import ItemIndex
from recsys.signals.signals import SIGNALS
from recsys.signals.transitions import count_transitions, strongest_transitions, total_transitions

IDS = [f"i{number:02}" for number in range(12)]
TITLES = [f"Title {number}" for number in range(12)]
UNAVAILABLE = {"i03", "i10"}
AVAILABLE = [item for item in IDS if item not in UNAVAILABLE]
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DATE = dt.date(2026, 1, 9)
SIZES = RankerConfig(hidden_size=8, layers=1, heads=2, dropout=0.3, id_dropout=0.3)
#: Interactions of the last week and of all time; two items are equals.
WEEK = np.array([0, 5, 2, 9, 0, 1, 3, 3, 0, 8, 7, 1])
EVER = 10 * WEEK + np.arange(12)[::-1]
EVERY_SIGNAL = Fusion(weights={name: 0.2 + 0.1 * place for place, name in enumerate(SIGNALS)})
LEANING = Fusion(weights=EVERY_SIGNAL.weights, short=dict.fromkeys(SIGNALS, -3.0), usual=20)
ONLY_RANKER = Fusion(weights={"retrieval": 1.0})

Rows = list[tuple[list[str], list[str]]]
Lists = dict[str, list[dict[str, Any]]]


def make_ranker(num_items: int) -> Ranker:
    texts = torch.randn(num_items, 5, generator=torch.Generator().manual_seed(0))
    spec = RankerSpec(
        num_items=num_items,
        text_dim=5,
        item_dim=8,
        num_event_kinds=1,
        decoder=decoder_config(SIZES, 4),
        dropout=SIZES.dropout,
        id_dropout=SIZES.id_dropout,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ranker = Ranker(spec, texts, torch.ones(num_items, dtype=torch.bool)).eval()
        torch.nn.init.normal_(ranker.id_embedding.weight)
        torch.nn.init.normal_(ranker.candidate_head.weight)
    return ranker


RANKER = make_ranker(len(IDS))
POPULARITY = np.log1p(np.stack([WEEK + 0.1 * EVER / 4, *[EVER] * (len(HORIZONS) - 1)])).astype(np.float32)


def make_transitions(seed: int) -> Neighbours:
    random = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(8), 5), random.integers(0, len(IDS), 40)
    counts = count_transitions(users, items, random.uniform(0, 50, 40), len(IDS), 2, 14.0)
    return Neighbours.from_table(strongest_transitions(counts, total_transitions(counts, len(IDS)), 4), len(IDS))


def make_snapshot(
    recommendable: list[bool] | None = None,
    fusion: Fusion = EVERY_SIGNAL,
    isolated: bool = True,
    returns: npt.NDArray[np.float32] | None = None,
    ranker: Ranker = RANKER,
    **rerank: Any,
) -> Snapshot:
    open_items = recommendable if recommendable is not None else [item not in UNAVAILABLE for item in IDS]
    texts = ranker.text_vectors.numpy()
    dials = RerankConfig.model_validate(rerank)
    return Snapshot.build(
        ranker=ranker,
        item_ids=pa.array(IDS),
        titles=pa.array(TITLES),
        event_kinds=["view"],
        max_length=4,
        isolated=isolated,
        beside=Beside(
            transitions=make_transitions(0),
            linear=make_transitions(1),
            text_vectors=texts / np.linalg.norm(texts, axis=1, keepdims=True),
            popularity=np.log1p(np.stack([WEEK + 0.1 * EVER / 4, *[EVER] * (len(HORIZONS) - 1)])).astype(np.float32)[
                None
            ],
            returns=np.zeros(len(IDS), dtype=np.float32) if returns is None else returns,
            recommendable=np.array(open_items),
            borrows=np.zeros(len(IDS), dtype=bool),
        ),
        fusion=fusion,
        reranker=Reranker.build(dials, EVER, np.array(open_items), RANKER.item_vectors().detach().numpy(), 0, DATE),
        now=(EPOCH + dt.timedelta(days=8)).timestamp() * 1e6,
    )


SNAPSHOT = make_snapshot()

users = st.tuples(
    st.lists(st.sampled_from([*IDS, "gone"]), max_size=7),
    st.lists(st.sampled_from([*IDS, "gone"]), max_size=12, unique=True),
)


def as_histories(rows: Rows) -> pa.Table:
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


def config(top_k: int = 5, candidates: int = 20, exclude_seen: bool = True) -> RecommendConfig:
    return RecommendConfig(top_k=top_k, candidates=candidates, exclude_seen=exclude_seen)


def recommended(rows: Rows | pa.Table, settings: RecommendConfig, snapshot: Snapshot = SNAPSHOT) -> Lists:
    histories = rows if isinstance(rows, pa.Table) else as_histories(rows)
    lists: Lists = defaultdict(list)
    for row in recommend_batch(snapshot, histories, settings).lists.to_pylist():
        lists[row["user_id"]].append(row)
    return lists


def names(found: list[dict[str, Any]]) -> list[str]:
    return [row["item_id"] for row in found]


def is_contract_of_lists(rows: Rows, table: pa.Table, top_k: int, exclude_seen: bool) -> None:
    assert table.schema.equals(RECOMMENDATIONS, check_metadata=True)
    table.validate(full=True)
    order = list(dict.fromkeys(table["user_id"].to_pylist()))
    assert order == [f"u{number}" for number in range(len(rows)) if f"u{number}" in order]
    by_user: Lists = defaultdict(list)
    for row in table.to_pylist():
        by_user[row["user_id"]].append(row)
    for number, (items, seen) in enumerate(rows):
        found, left_out = by_user[f"u{number}"], {*items, *seen} if exclude_seen else set()
        assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
        assert len(found) == min(top_k, len([item for item in AVAILABLE if item not in left_out]))
        assert len({*names(found)}) == len(found)
        assert not {*names(found)} & (left_out | UNAVAILABLE)
        keys = [(-row["score"], row["item_id"]) for row in found]
        assert keys == sorted(keys)
        assert all(row["score"] <= 0 for row in found)
        assert {row["variant"] for row in found} <= {"default"}


@given(st.lists(users, max_size=4), st.integers(1, 14), st.integers(0, 10), st.booleans(), st.booleans())
def test_every_list_holds_to_the_contract(
    rows: Rows, top_k: int, spare: int, exclude_seen: bool, isolated: bool
) -> None:
    snapshot = dataclasses.replace(SNAPSHOT, isolated=isolated)
    found = recommend_batch(snapshot, as_histories(rows), config(top_k, top_k + spare, exclude_seen))
    is_contract_of_lists(rows, found.lists, top_k, exclude_seen)
    assert (found.counts.users, found.counts.listed) == (len(rows), len(found.lists))
    assert found.counts.duplicates == 0


def with_new(snapshot: Snapshot, *new: int) -> Snapshot:
    borrows = np.isin(np.arange(len(IDS)), new)
    return dataclasses.replace(snapshot, beside=dataclasses.replace(snapshot.beside, borrows=borrows))


def test_new_items_are_told_apart_by_weights_of_their_own() -> None:
    """The others keep their scores, and the contributions of a new item are those of the weights that placed it."""
    rows: Rows = [(["i00", "i01"], []), ([], [])]
    new = (4, 5, 8)
    plain = with_new(SNAPSHOT, *new)
    none = {name: -weight for name, weight in EVERY_SIGNAL.weights.items()}
    by_text = dataclasses.replace(EVERY_SIGNAL, new=none | {"text": none["text"] - 1})
    dealt = dataclasses.replace(plain, fusion=by_text)
    before, after = (recommend_batch(each, as_histories(rows), config(12)) for each in (plain, dealt))
    known, unknown = (recommended(rows, config(12), each)["u0"] for each in (plain, dealt))
    scores = {row["item_id"]: row["score"] for row in known}
    ours = {row["item_id"]: row["score"] for row in unknown}
    ids = [IDS[item] for item in new]
    assert {item: score for item, score in scores.items() if item not in ids} == {
        item: score for item, score in ours.items() if item not in ids
    }
    assert sorted(scores[item] for item in ids) == pytest.approx(sorted(ours[item] for item in ids))
    texts = plain.beside.text_vectors
    mean = texts[0] + texts[1]
    assert [item for item in ours if item in ids] == sorted(ids, key=lambda item: float(texts[IDS.index(item)] @ mean))
    assert list(ours) != list(scores)
    for part, others in ((before, True), (after, False)):
        lists = part.lists.to_pylist()
        own = [place for place, row in enumerate(lists) if row["user_id"] == "u0" and row["item_id"] in ids]
        assert len(own) == len(ids)
        lifts = np.delete(part.contributions[own], SIGNALS.index("text"), axis=1)
        assert bool(lifts.any()) == others
    ((_, scored),) = scored_blocks(dealt, as_histories(rows), config(), np.full(2, dealt.now), np.zeros(2, dtype=int))
    nobody = ~scored.profiles.known
    weights = user_weights(scored, by_text)
    same = (weights_among_new(scored, by_text, weights) == weights).all(axis=1)
    assert same.tolist() == nobody.tolist(), "of whom nothing is known popularity speaks"


def test_known_items_are_taken_for_new() -> None:
    """They alone are candidates, by what they borrow; who reads histories reads what it read."""
    snapshot = dataclasses.replace(SNAPSHOT, ranker=make_ranker(len(IDS)), isolated=False)
    lenders = pa.Table.from_pylist(
        [{"lender": 2, "item": 5, "share": 1.0}, {"lender": 7, "item": 9, "share": 1.0}], LENDERS
    )
    taken_for_new = snapshot.as_if_new(Lending(lenders, len(IDS)))
    histories = as_histories([(["i05", "i09", "i01"], [])])
    now, moment = np.full(1, snapshot.now), np.zeros(1, dtype=np.int64)
    ((_, usual),) = scored_blocks(snapshot, histories, config(exclude_seen=False), now, moment)
    ((_, scored),) = scored_blocks(taken_for_new, histories, config(exclude_seen=False), now, moment)
    assert scored.items[scored.items >= 0].tolist() == [5, 9]
    as_lender, own = (dict(zip(each.items[0].tolist(), each.signals[0], strict=True)) for each in (usual, scored))
    lent = [place for place, name in enumerate(SIGNALS) if name.startswith(("newest", "whole", "linear", "popularity"))]
    np.testing.assert_allclose(own[5][lent], as_lender[2][lent], rtol=1e-5)
    np.testing.assert_allclose(own[9][lent], as_lender[7][lent], rtol=1e-5)
    retrieval = SIGNALS.index("retrieval")
    assert taken_for_new.read_vectors is snapshot.item_vectors
    assert not torch.equal(taken_for_new.item_vectors[5], SNAPSHOT.item_vectors[5])
    assert own[5][retrieval] != as_lender[5][retrieval]


DIALS = make_snapshot(long_tail_boost=0.5, diversity=0.4, exploration=0.5)


@hypothesis_settings(max_examples=40)
@given(st.lists(users, max_size=4), st.integers(2, 14), st.booleans())
def test_whatever_the_dials_it_is_a_list(rows: Rows, top_k: int, exclude_seen: bool) -> None:
    table = recommend_batch(DIALS, as_histories(rows), config(top_k, 20, exclude_seen)).lists
    is_contract_of_lists(rows, table, top_k, exclude_seen)


@given(st.lists(users, min_size=1, max_size=4), st.booleans())
def test_a_reason_is_true(rows: Rows, exclude_seen: bool) -> None:
    """What it names is in the user's history; who never had an item is not told so; nobody's history is nothing."""
    for number, (items, _) in enumerate(rows):
        for row in recommended(rows, config(6, 12, exclude_seen))[f"u{number}"]:
            had = {TITLES[IDS.index(item)] for item in items if item in IDS}
            match row["source"]:
                case "ranker":
                    assert row["reason"] == "in line with your history"
                    assert had
                case "transitions":
                    assert row["reason"].removeprefix("often chosen with ") in had
                case "linear":
                    assert row["reason"].removeprefix("chosen by people who chose ") in had
                case "text":
                    assert row["reason"].removeprefix("similar to ") in had - {TITLES[IDS.index(row["item_id"])]}
                case "popularity":
                    assert row["reason"] == "popular now"
                case "repeat":
                    assert row["reason"] == "you chose it before"
                    assert row["item_id"] in items
                    assert not exclude_seen
                case other:
                    pytest.fail(f"source {other}")


def test_every_source_is_met() -> None:
    """So that the test above tells something: with another weight, another source comes first."""
    rows: Rows = [(["i00", "i01", "i05"], [])]
    for name, source in (
        ("isolated", "ranker"),
        ("whole_lasting", "transitions"),
        ("linear_recent", "linear"),
        ("text", "text"),
        ("seen", "repeat"),
    ):
        snapshot = make_snapshot(fusion=Fusion(weights=EVERY_SIGNAL.weights | {name: 50.0}))
        assert recommended(rows, config(1, exclude_seen=False), snapshot)["u0"][0]["source"] == source


def test_drawn_items_say_so() -> None:
    found = recommended([(["i00", "i04"], []), ([], [])], config(4), make_snapshot(exploration=0.5))
    for rows in found.values():
        assert [row["source"] == "exploration" for row in rows] == [False, False, True, True]
        assert {row["reason"] for row in rows[2:]} == {"something new to try"}
    counts = recommend_batch(make_snapshot(exploration=0.5), as_histories([(["i00"], [])]), config(4)).counts
    assert counts.moved["exploration"] == 2


@given(st.lists(users, min_size=1, max_size=4))
def test_scores_are_log_probabilities_among_the_candidates(rows: Rows) -> None:
    """Where everything is a candidate they are 1 together, and what is left out takes nothing from the others' odds."""
    whole = recommended(rows, config(12, 12, exclude_seen=False))
    for found in whole.values():
        assert sum(np.exp(row["score"]) for row in found) == pytest.approx(1, abs=1e-5)
    shorter = recommended(rows, config(3, 12, exclude_seen=False))
    for user, found in shorter.items():
        assert found == whole[user][:3]


def test_with_the_retriever_alone_scores_are_its_own() -> None:
    snapshot = make_snapshot(fusion=ONLY_RANKER)
    found = recommended([(["i00", "i04"], [])], config(12, 12, exclude_seen=False), snapshot)["u0"]
    items, gaps, events = torch.tensor([[0, 4]]), torch.tensor([[0, 12]]), torch.tensor([[1, 1]])
    with torch.no_grad():
        user, vectors = RANKER(items, gaps, events)
    rows = [IDS.index(item) for item in AVAILABLE]
    expected = dict(zip(AVAILABLE, (vectors[rows] @ user[0]).log_softmax(dim=0).tolist(), strict=True))
    assert {row["item_id"]: row["score"] for row in found} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("isolated", [True, False])
def test_the_isolated_pass_adds_what_it_sees_beyond_retrieval(isolated: bool) -> None:
    """Retrieval and it together are the ranker's candidate logits, but for a constant of the user."""
    snapshot = make_snapshot(fusion=Fusion(weights={"retrieval": 1.0, "isolated": 1.0}), isolated=isolated)
    found = recommended([(["i00", "i04"], [])], config(12, 12, exclude_seen=False), snapshot)["u0"]
    items, gaps, events = torch.tensor([[0, 4]]), torch.tensor([[0, 12]]), torch.tensor([[1, 1]])
    rows = torch.tensor([[IDS.index(item) for item in AVAILABLE]])
    with torch.no_grad():
        user, vectors = RANKER(items, gaps, events)
        beyond = RANKER(items, gaps, events, rows)[0]
        plain = vectors[rows[0]] @ user[0]
    logits = beyond if isolated else plain
    expected = dict(zip(AVAILABLE, logits.log_softmax(dim=0).tolist(), strict=True))
    assert {row["item_id"]: row["score"] for row in found} == pytest.approx(expected, abs=1e-5)
    assert (beyond - plain).std() > 0.05, "the pass says something"


@pytest.mark.parametrize("isolated", [True, False])
def test_a_decoder_in_bfloat16_makes_nearly_the_same_lists(isolated: bool) -> None:
    """As it reads on a GPU."""
    rows = [(["i00", "i04"], ["i07"]), (["i05"], []), ([], [])]
    whole = recommended(rows, config(), make_snapshot(isolated=isolated))
    ranker = make_ranker(len(IDS))
    ranker.decode_in(torch.bfloat16)
    rounded = recommended(rows, config(), make_snapshot(isolated=isolated, ranker=ranker))
    assert rounded["u0"] != whole["u0"]
    for user, found in whole.items():
        scores = {row["item_id"]: row["score"] for row in rounded[user]}
        assert {row["item_id"]: row["score"] for row in found} == pytest.approx(scores, abs=0.05)


def test_fused_scores_are_a_log_softmax_of_the_weighted_sum() -> None:
    histories = as_histories([(["i00", "i04"], ["i07"]), (["i05"], IDS), ([], [])])
    now, moment = np.full(3, SNAPSHOT.now), np.zeros(3, dtype=np.int64)
    ((owners, scored),) = scored_blocks(SNAPSHOT, histories, config(), now, moment)
    assert owners.tolist() == [2, 1, 0], "by the length of the history"
    scores = fused_scores(scored, user_weights(scored, EVERY_SIGNAL))
    assert (scores.dtype, scores.shape) == (np.float32, scored.items.shape)
    weights = np.array(list(EVERY_SIGNAL.weights.values()))
    for row, (user, items, signals) in enumerate(zip(owners, scored.items, scored.signals, strict=True)):
        there = items >= 0
        sums = signals[there] @ weights if user < 2 else signals[there][:, SIGNALS.index("popularity")]
        expected = np.log(np.exp(sums) / np.exp(sums).sum())
        np.testing.assert_allclose(scores[row, there], expected, atol=1e-5)
        assert (scores[row, ~there] == -np.inf).all()
        assert there.any() == (user != 1), "who saw everything has no candidate"


@hypothesis_settings(max_examples=30)
@given(st.lists(users, min_size=2, max_size=5), st.booleans(), st.integers(1, 3))
def test_a_batch_equals_its_users_one_at_a_time(rows: Rows, exclude_seen: bool, block: int) -> None:
    """Whoever else is in the batch, in whatever order, and however many users go through together."""
    histories, settings = as_histories(rows), config(4, 6, exclude_seen)
    together = [recommended(histories, settings), recommended(histories.take(list(range(len(rows)))[::-1]), settings)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "CPU_USERS", block)
        together.append(recommended(histories, settings))
    for number in range(len(rows)):
        alone = recommended(histories.slice(number, 1), settings)[f"u{number}"]
        for other in together:
            found = other[f"u{number}"]
            assert [(row["item_id"], row["reason"]) for row in found] == [
                (row["item_id"], row["reason"]) for row in alone
            ]
            assert [row["score"] for row in found] == pytest.approx([row["score"] for row in alone], abs=1e-5)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_signals_do_not_hang_on_the_blocks(exclude_seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = as_histories([(["i00", "i04"], ["i07"]), ([], []), (["i02"], []), (["i01", "gone"], []), (["i09"], [])])
    now, moment = np.full(5, SNAPSHOT.now), np.zeros(5, dtype=np.int64)

    def by_user() -> dict[int, dict[int, list[float]]]:
        blocks = scored_blocks(SNAPSHOT, histories, config(exclude_seen=exclude_seen), now, moment)
        return {
            int(user): {int(item): row.tolist() for item, row in zip(items, signals, strict=True) if item >= 0}
            for owners, scored in blocks
            for user, items, signals in zip(owners, scored.items, scored.signals, strict=True)
        }

    whole = by_user()
    monkeypatch.setattr(pipeline, "CPU_USERS", 2)
    parts = by_user()
    assert sorted(parts) == sorted(whole) == list(range(5))
    for user, signals in whole.items():
        assert list(parts[user]) == list(signals)
        for item, row in signals.items():
            assert parts[user][item] == pytest.approx(row, abs=1e-5)


@pytest.mark.parametrize("candidates", [2, 3, 20])
def test_equals_come_by_item_id(candidates: int) -> None:
    """Also where they meet the cut between what is retrieved and what is not."""
    equal = dataclasses.replace(
        make_snapshot(fusion=ONLY_RANKER, isolated=False),
        item_vectors=torch.zeros_like(SNAPSHOT.item_vectors),
        index=ItemIndex.of(torch.zeros_like(SNAPSHOT.index.vectors)),
    )
    found = recommended([(["i00"], ["i04"])], config(2, candidates), equal)["u0"]
    assert names(found) == ["i01", "i02"]
    assert len({row["score"] for row in found}) == 1


def test_nobody_and_nothing() -> None:
    nobody = recommend_batch(SNAPSHOT, HISTORIES.empty_table(), config())
    assert nobody.lists.schema.equals(RECOMMENDATIONS, check_metadata=True)
    assert (len(nobody.lists), nobody.counts.users) == (0, 0)
    closed = make_snapshot([False] * len(IDS))
    for exclude_seen in (True, False):
        nothing = recommend_batch(closed, as_histories([(["i00"], []), ([], [])]), config(exclude_seen=exclude_seen))
        assert nothing.lists.equals(RECOMMENDATIONS.empty_table())
        assert (nothing.counts.users, nothing.counts.candidates) == (2, 0)


def test_who_saw_everything_gets_no_rows_and_shifts_nobody() -> None:
    rows: Rows = [(["i00"], []), (["i01"], IDS), (["i02"], [])]
    table = recommend_batch(SNAPSHOT, as_histories(rows), config(3)).lists
    assert table["user_id"].to_pylist() == ["u0"] * 3 + ["u2"] * 3
    everyone = recommend_batch(SNAPSHOT, as_histories(rows), config(3, exclude_seen=False)).lists
    assert everyone["user_id"].to_pylist() == ["u0"] * 3 + ["u1"] * 3 + ["u2"] * 3
    assert len(recommend_batch(SNAPSHOT, as_histories(rows[1:2]), config(3)).lists) == 0


@pytest.mark.parametrize("fusion", [EVERY_SIGNAL, ONLY_RANKER, LEANING], ids=["all", "without popularity", "short"])
def test_of_whom_nothing_is_known_gets_what_is_popular(fusion: Fusion) -> None:
    """By the week, then by all time, whatever popularity weighs for the others; P is the share of 1 + count."""
    snapshot = dataclasses.replace(make_snapshot(fusion=fusion), now=EPOCH.timestamp() * 1e6)
    found = recommended([(["gone", "lost"], []), ([], []), ([], ["i09"])], config(6), snapshot)
    order = sorted((item for item in AVAILABLE), key=lambda item: (-WEEK[IDS.index(item)], -EVER[IDS.index(item)]))
    assert names(found["u0"]) == names(found["u1"]) == order[:6] == ["i09", "i01", "i06", "i07", "i02", "i05"]
    assert names(found["u2"]) == order[1:7], "what was seen is left out"
    for rows in found.values():
        assert {(row["source"], row["reason"]) for row in rows} == {("popularity", "popular now")}
    odds = np.exp(found["u1"][0]["score"] - found["u1"][1]["score"])
    count = {item: 1 + WEEK[IDS.index(item)] + 0.1 * EVER[IDS.index(item)] / 4 for item in ("i09", "i01")}
    assert odds == pytest.approx(count["i09"] / count["i01"], rel=1e-5)


def test_what_was_had_before_comes_back_where_it_may() -> None:
    """By how often and how lately; and no candidate for repeats alone where seen items are left out."""
    again = make_snapshot(fusion=Fusion(weights={"repeat": 1.0}))
    rows: Rows = [(["i07", "i04", "i07", "i08"], [])]
    found = recommended(rows, config(3, 6, exclude_seen=False), again)["u0"]
    assert names(found) == ["i07", "i08", "i04"]
    assert {row["reason"] for row in found} == {"you chose it before"}
    assert not {*names(recommended(rows, config(3, 6), again)["u0"])} & {"i07", "i08", "i04"}


def test_what_others_come_back_for_comes_back_first() -> None:
    """Of what was had alike; what was never had is none the likelier for it."""
    returns = np.zeros(len(IDS), dtype=np.float32)
    returns[[IDS.index("i04"), IDS.index("i09")]] = 1.0
    again = make_snapshot(fusion=Fusion(weights={"seen": 1.0, "returns": 1.0}), returns=returns)
    found = recommended([(["i07", "i04", "i08"], [])], config(4, 6, exclude_seen=False), again)["u0"]
    assert names(found)[:3] == ["i04", "i07", "i08"]
    assert found[0]["score"] - found[1]["score"] == pytest.approx(1, rel=1e-5)
    assert found[0]["reason"] == "you chose it before"


def test_tables_in_slices_and_chunks_are_no_different() -> None:
    histories = as_histories([(["i00"], ["i01"]), (["i02", "i04"], ["i06"]), ([], []), (["i07"], ["i00", "i09"])])
    whole = recommended(histories, config())
    parts = recommended(pa.concat_tables([histories.slice(1, 2), histories.slice(3), histories.slice(0, 1)]), config())
    assert list(parts) == ["u1", "u2", "u3", "u0"]
    for user, found in whole.items():
        assert [(row["item_id"], row["reason"]) for row in parts[user]] == [
            (row["item_id"], row["reason"]) for row in found
        ]


def test_popularity_of_several_moments_is_each_users_own() -> None:
    """As validation looks from the day of each user's last moment."""
    days = np.stack([SNAPSHOT.beside.popularity[0], SNAPSHOT.beside.popularity[0][:, ::-1]])
    usual = SNAPSHOT.beside.most_popular(2)[0].tolist()  # what was looked for is kept, but not for other moments
    snapshot = SNAPSHOT.at_moments(days)
    first, other = snapshot.beside.most_popular(2).tolist()
    assert first == usual != other
    histories = as_histories([([], []), ([], [])])
    ((owners, scored),) = scored_blocks(snapshot, histories, config(), np.full(2, SNAPSHOT.now), np.array([1, 0]))
    column = SIGNALS.index("popularity")
    assert owners.tolist() == [0, 1]
    for user, day in ((0, 1), (1, 0)):
        there = scored.items[user] >= 0
        expected = days[day][:, scored.items[user, there]]
        np.testing.assert_array_equal(scored.signals[user, there, column : column + len(HORIZONS)].T, expected)


@given(st.integers(1, 9), st.data())
def test_ranked_items_become_a_table(top_k: int, data: st.DataObject) -> None:
    """Lists of any length, −1 at their ends, with a text for all or one for each."""
    lengths = data.draw(st.lists(st.integers(0, top_k), min_size=1, max_size=3))
    items = np.full((len(lengths), top_k), -1, dtype=np.int64)
    for row, length in zip(items, lengths, strict=True):
        row[:length] = data.draw(st.permutations(range(len(IDS))))[:length]
    scores = -np.arange(items.size, dtype=np.float32).reshape(items.shape)
    texts = pa.array([f"because {number}" for number in range(sum(lengths))], pa.string())
    people = pa.chunked_array([[f"u{number}"] for number in range(len(lengths))])
    table = as_recommendations(people, pa.array(IDS), items, scores, source="s", reason=texts)
    expected = [
        {"user_id": f"u{user}", "rank": place + 1, "item_id": IDS[items[user, place]], "score": scores[user, place]}
        for user, length in enumerate(lengths)
        for place in range(length)
    ]
    shared = {"source": "s", "variant": "default"}
    assert table.schema.equals(RECOMMENDATIONS, check_metadata=True)
    assert table.to_pylist() == [row | shared | {"reason": f"because {number}"} for number, row in enumerate(expected)]


# --- what users are and say

SAID = UserTexts(
    texts=pa.array(["cook", "pan", "pot"]),
    vectors=np.concatenate([np.random.default_rng(5).normal(size=(1, 5)), RANKER.text_vectors[[2, 6]].numpy()]).astype(
        np.float32
    ),
)
#: An item with a review of it or none; a search; what the user is.
talkers = st.tuples(
    st.lists(st.tuples(st.sampled_from([*IDS[:6], "gone", ""]), st.sampled_from(["pan", "pot", "?", ""])), max_size=6),
    st.sampled_from(["cook", ""]),
)


def talking(fusion: Fusion = EVERY_SIGNAL) -> Snapshot:
    """The snapshot with a ranker that reads texts."""
    spec = dataclasses.replace(RANKER.spec, user_texts=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ranker = Ranker(spec, RANKER.text_vectors, RANKER.known).eval()
    ranker.load_state_dict(RANKER.state_dict(), strict=False)
    return dataclasses.replace(make_snapshot(fusion=fusion), ranker=ranker).with_texts(SAID)


TALKING = talking()


def told(rows: list[tuple[list[tuple[str, str]], str]]) -> pa.Table:
    plain = as_histories([([item for item, _ in events], []) for events, _ in rows])
    seen = [[item for item in items if item] for items in plain["seen_item_ids"].to_pylist()]
    plain = plain.set_column(5, HISTORIES.field("seen_item_ids"), pa.array(seen, pa.list_(pa.string())))
    texts = pa.array([[text for _, text in events] for events, _ in rows], TEXTS.type)
    return plain.append_column(TEXTS, texts).append_column(
        PROFILE, pa.array([profile for _, profile in rows], pa.string())
    )


@hypothesis_settings(max_examples=30)
@given(st.lists(users, min_size=1, max_size=3), st.lists(talkers, max_size=3), st.booleans())
def test_texts_change_nothing_for_users_without_them(rows: Rows, others: list[Any], exclude_seen: bool) -> None:
    settings = config(12, 12, exclude_seen)
    plain = as_histories(rows)
    silent = plain.append_column(TEXTS, pa.array([[""] * len(items) for items, _ in rows], TEXTS.type))
    silent = silent.append_column(PROFILE, pa.array([""] * len(rows), pa.string()))
    speaking = told(others)
    speaking = speaking.set_column(
        0, HISTORIES.field("user_id"), pa.array([f"x{n}" for n in range(len(others))], pa.string())
    )
    before, after = recommended(plain, settings), recommended(pa.concat_tables([silent, speaking]), settings, TALKING)
    for user, found in before.items():
        scores, own = ({row["item_id"]: row["score"] for row in rows} for rows in (found, after[user]))
        assert own == pytest.approx(scores, abs=1e-4)


@given(st.lists(talkers, max_size=4), st.booleans())
def test_whatever_is_said_it_is_a_list_with_true_reasons(rows: list[Any], exclude_seen: bool) -> None:
    table = recommend_batch(TALKING, told(rows), config(5, 12, exclude_seen)).lists
    is_contract_of_lists([([item for item, _ in events], []) for events, _ in rows], table, 5, exclude_seen)
    by_user: Lists = defaultdict(list)
    for row in table.to_pylist():
        by_user[row["user_id"]].append(row)
    for number, (events, profile) in enumerate(rows):
        had = {item for item, _ in events if item in IDS}
        searched = any(not item and text in ("pan", "pot") for item, text in events)
        for row in by_user[f"u{number}"]:
            match row["reason"]:
                case "in line with your history":
                    assert had
                case "in line with what you told us":
                    assert (row["source"], had) == ("ranker", set())
                    assert searched or profile
                case "close to your query":
                    assert row["source"] == "text"
                    assert searched
                case "popular this week":
                    assert row["source"] == "popularity"


def test_a_query_alone_finds_what_it_names() -> None:
    by_text = talking(Fusion(weights={"text": 1.0}))
    (found,) = recommended(told([([("", "pot")], "")]), config(3, 12), by_text).values()
    assert (found[0]["item_id"], found[0]["source"], found[0]["reason"]) == ("i06", "text", "close to your query")


def test_a_query_alone_brings_its_nearest_items_among_the_candidates() -> None:
    """Even where there are so few candidates that the retriever and popularity would not have found them."""
    by_text = talking(Fusion(weights={"text": 1.0}))
    rows = told([([("", "pan")], "")])
    (found,) = recommended(rows, config(2, 2), by_text).values()
    assert found[0]["item_id"] == "i02"


def test_a_fresh_search_weighs_like_the_whole_history_and_an_old_one_hardly() -> None:
    by_text = talking(Fusion(weights={"text": 1.0}))
    rows = told([([("i00", ""), ("i01", ""), ("", "pot")], "")])
    late = dataclasses.replace(by_text, now=(EPOCH + dt.timedelta(days=400)).timestamp() * 1e6)
    without = recommended(told([([("i00", ""), ("i01", "")], "")]), config(12, 12, False), by_text)["u0"]
    fresh, stale = (recommended(rows, config(12, 12, False), one)["u0"] for one in (by_text, late))

    def score(found: list[dict[str, Any]]) -> float:
        return {row["item_id"]: float(row["score"]) for row in found}["i06"]

    assert score(fresh) > score(stale) + 0.05
    assert score(stale) == pytest.approx(score(without), abs=0.01)


def test_what_a_user_is_is_enough_for_a_ranker_that_reads_it() -> None:
    rows = told([([], "cook"), ([], "")])
    found = recommended(rows, config(5, 12), talking(ONLY_RANKER))
    assert {row["reason"] for row in found["u0"]} == {"in line with what you told us"}
    assert {row["source"] for row in found["u1"]} == {"popularity"}
    assert names(found["u0"]) != names(found["u1"])
    deaf = recommended(rows, config(5, 12), make_snapshot().with_texts(SAID))
    assert names(deaf["u0"]) == names(deaf["u1"]), "a ranker that never learned of texts says nothing of them"


def test_of_whom_only_that_is_known_popularity_and_the_ranker_speak_alike() -> None:
    """The fitted weights are those of people with a history, and may be anything without one."""
    histories, snapshot = told([([], "cook"), ([], ""), ([("i03", "")], "cook")]), talking(EVERY_SIGNAL)
    now, moment = np.full(3, snapshot.now), np.zeros(3, dtype=np.int64)
    ((owners, scored),) = scored_blocks(snapshot, histories, config(), now, moment)
    described, nothing, both = user_weights(scored, LEANING)[np.argsort(owners)]
    assert {name: weight for name, weight in zip(SIGNALS, described, strict=True) if weight} == {
        "popularity": 1.0,
        "retrieval": 1.0,
    }
    assert {name: weight for name, weight in zip(SIGNALS, nothing, strict=True) if weight} == {"popularity": 1.0}
    np.testing.assert_array_equal(both, LEANING.of_users(SIGNALS, np.array([1]), scored.profiles.visiting[:1])[0])


def test_weights_are_those_of_the_number_of_items_in_a_visit() -> None:
    """Of those in the catalog, each once; in the reasons and in what each signal contributes too."""
    fusion = Fusion(
        weights={"retrieval": 1.0, "text": 0.2},
        short={"popularity": 2.0},
        visit={"popularity": 3.0},
        temperature=1,
        usual=8,
    )
    rows: Rows = [(["i00"], []), (["i00", "i04", "i00", "gone", "i06"], [])]
    newest = np.array([(EPOCH + dt.timedelta(hours=len(items) - 1)).timestamp() * 1e6 for items, _ in rows])

    def weights(minutes_later: float) -> npt.NDArray[np.float32]:
        now, moment = newest + minutes_later * 60e6, np.zeros(2, dtype=np.int64)
        ((owners, scored),) = scored_blocks(SNAPSHOT, as_histories(rows), config(), now, moment)
        return user_weights(scored, fusion)[np.argsort(owners)]

    popularity, shortness = SIGNALS.index("popularity"), np.array([1 / 2**0.5 - 1 / 3, 1 / 2 - 1 / 3])
    expected = np.stack([fusion.vector(SIGNALS)] * 2)
    expected[:, popularity] = 2 * shortness
    np.testing.assert_allclose(weights(31), expected, rtol=1e-6)
    expected[:, popularity] = 3 * shortness
    np.testing.assert_allclose(weights(30), expected / (1 + shortness[:, None]), rtol=1e-6)
    in_visits = dataclasses.replace(make_snapshot(fusion=fusion), now=float(newest.min()))
    lists = recommend_batch(in_visits, as_histories(rows), config(5, 12))
    assert np.abs(lists.contributions[:, popularity]).max() > 0.1
    assert "popularity" in lists.lists["source"].to_pylist()


def test_who_asks_in_words_is_answered_by_what_the_texts_say() -> None:
    """The weights of what people took unasked hold for everybody else in the batch."""
    histories = as_histories([(["i00", "i04"], ["i07"]), (["i00", "i04"], ["i07"])])
    wishes = Wishes(
        barred=np.zeros((2, len(IDS)), dtype=bool),
        also=np.zeros((2, 0), dtype=np.int64),
        searching=np.array([True, False]),
        asked=np.full(2, SNAPSHOT.now),
    )
    now, moment = np.full(2, SNAPSHOT.now), np.zeros(2, dtype=np.int64)
    ((owners, scored),) = scored_blocks(SNAPSHOT, histories, config(), now, moment, wishes)
    asks, others = scored_weights = user_weights(scored, EVERY_SIGNAL)[np.argsort(owners)]
    assert scored_weights.shape == (2, len(SIGNALS))
    raised = dict(zip(SIGNALS, (asks - others).tolist(), strict=True))
    assert raised.pop("text") == SEARCH_WEIGHT
    assert set(raised.values()) == {0.0}
    np.testing.assert_array_equal(others, EVERY_SIGNAL.vector(SIGNALS))
    # where all the rest is divided, so is this: a search leads the list in a visit as at any time
    tempered = dataclasses.replace(EVERY_SIGNAL, usual=100, temperature=4.0)
    scored = dataclasses.replace(scored, profiles=dataclasses.replace(scored.profiles, visiting=np.ones(2, dtype=bool)))
    warmth = tempered.warmth(np.array([2]), np.array([True]))
    assert warmth > 2
    np.testing.assert_allclose(user_weights(scored, tempered)[np.argsort(owners)], scored_weights / warmth, rtol=1e-6)
