"""Lists: what holds for every table of recommendations.

Shapes: B users, I items, K list length, S numbers of all signals.
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

from recsys.model.features import UserTexts
from recsys.model.ranker import Ranker
from recsys.ranking import scoring
from recsys.ranking.config import RecommendConfig, RerankConfig
from recsys.ranking.constraints import RequestConstraints
from recsys.ranking.fused_scores import fuse
from recsys.ranking.fusion import Fusion
from recsys.ranking.lists import as_recommendations, recommend_batch
from recsys.ranking.rerank import Reranker
from recsys.ranking.rules.rule import NightFacts
from recsys.ranking.scoring import Scored, scored_blocks
from recsys.ranking.snapshot import Snapshot
from recsys.ranking.user_weights import user_weights
from recsys.schema import DONORS, HISTORIES, PROFILE, RECOMMENDATIONS, SERVED, TEXTS
from recsys.signals.donors import Donors
from recsys.signals.ease import LoadedEase
from recsys.signals.exact_search import RecommendableIndex
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import HORIZONS, LoadedPopularity
from recsys.signals.ranker_evidence import LoadedRanker
from recsys.signals.registry import columns_of, usual_signals
from recsys.signals.repeat import LoadedRepeat
from recsys.signals.signal import LoadedSignal
from recsys.signals.text import QUERY_WEIGHT
from recsys.signals.text_ease import TextEase
from recsys.signals.text_evidence import LoadedText
from recsys.signals.transitions import LoadedTransitions, count_transitions, strongest_transitions, sum_pairs
from tests.ranking.random_trees import random_trees
from tests.ranking.tiny_ranker import tiny_ranker

COLUMNS = columns_of(usual_signals())
IDS = [f"i{number:02}" for number in range(12)]
TITLES = [f"Title {number}" for number in range(12)]
UNAVAILABLE = {"i03", "i10"}
AVAILABLE = [item for item in IDS if item not in UNAVAILABLE]
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DATE = dt.date(2026, 1, 9)
#: Interactions of the last week and of all time; two items have the same.
WEEK = np.array([0, 5, 2, 9, 0, 1, 3, 3, 0, 8, 7, 1])
EVER = 10 * WEEK + np.arange(12)[::-1]
EVERY_SIGNAL = Fusion(weights={name: 0.2 + 0.1 * place for place, name in enumerate(COLUMNS)})
SHORT = Fusion(weights=EVERY_SIGNAL.weights, short=dict.fromkeys(COLUMNS, -3.0), typical_length=20)
ONLY_RANKER = Fusion(weights={"retrieval": 1.0})

Rows = list[tuple[list[str], list[str]]]
Lists = dict[str, list[dict[str, Any]]]


RANKER = tiny_ranker(len(IDS))
FIRST_DAY = np.array([0])
POPULARITY = np.log1p(np.stack([WEEK + 0.1 * EVER / 4, *[EVER] * (len(HORIZONS) - 1)])).astype(np.float32)


def make_transitions(seed: int) -> Neighbours:
    random = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(8), 5), random.integers(0, len(IDS), 40)
    ages, scales = random.uniform(0, 50, 40), {"num_items": len(IDS), "window": 2}
    counts = count_transitions(users, items, ages, np.ones(40), **scales, half_life_days=14.0)
    return Neighbours.from_table(strongest_transitions(counts, sum_pairs([counts], len(IDS)), 4), len(IDS))


def make_snapshot(
    recommendable: list[bool] | None = None,
    fusion: Fusion = EVERY_SIGNAL,
    candidate_pass: bool = True,
    returns: npt.NDArray[np.float32] | None = None,
    ranker: Ranker = RANKER,
    popularity: npt.NDArray[np.float32] = POPULARITY[None],
    days: npt.NDArray[np.int64] = FIRST_DAY,
    catalog: pa.Table | None = None,
    **rerank: Any,
) -> Snapshot:
    open_items = np.array(recommendable or [item not in UNAVAILABLE for item in IDS])
    texts = ranker.text_vectors.numpy()
    signals: dict[str, LoadedSignal] = {
        "ranker": LoadedRanker(ranker, open_items, candidate_pass),
        "transitions": LoadedTransitions(make_transitions(0), len(IDS)),
        "ease": LoadedEase(make_transitions(1), len(IDS)),
        "text": LoadedText(TextEase.of(texts / np.linalg.norm(texts, axis=1, keepdims=True)), open_items),
        "popularity": LoadedPopularity(popularity, days, open_items),
        "repeat": LoadedRepeat(np.zeros(len(IDS), dtype=np.float32) if returns is None else returns),
    }
    facts = NightFacts(
        popularity=EVER,
        is_cold=EVER == 0,
        recommendable=open_items,
        vectors=RANKER.item_vectors().detach().numpy(),
        seed=0,
        date=DATE,
        catalog=catalog,
    )
    return Snapshot(
        signals=signals,
        item_ids=pa.array(IDS),
        titles=pa.array(TITLES),
        recommendable=open_items,
        is_cold=np.zeros(len(IDS), dtype=bool),
        event_kinds=pa.array(["view"]),
        max_length=4,
        reads_texts=ranker.spec.user_texts,
        fusion=fusion,
        reranker=Reranker.build(RerankConfig.model_validate(rerank), facts),
        now=(EPOCH + dt.timedelta(days=8)).timestamp() * 1e6,
    )


SNAPSHOT = make_snapshot()
WITHOUT_PASS = make_snapshot(candidate_pass=False)

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


def blocks(
    snapshot: Snapshot,
    histories: pa.Table,
    settings: RecommendConfig,
    now: npt.NDArray[np.float64] | None = None,
    constraints: RequestConstraints | None = None,
) -> list[tuple[npt.NDArray[np.int64], Scored]]:
    """(rows of the users, their scored candidates) of each block."""
    moments = np.full(len(histories), snapshot.now) if now is None else now
    return scored_blocks(lambda users, found: (users, found), snapshot, histories, settings, moments, constraints)


def scored(snapshot: Snapshot, histories: pa.Table, settings: RecommendConfig) -> Scored:
    """Of one block."""
    ((_, found),) = blocks(snapshot, histories, settings)
    return found


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
    rows: Rows, top_k: int, spare: int, exclude_seen: bool, candidate_pass: bool
) -> None:
    snapshot = SNAPSHOT if candidate_pass else WITHOUT_PASS
    found = recommend_batch(snapshot, as_histories(rows), config(top_k, top_k + spare, exclude_seen))
    is_contract_of_lists(rows, found.lists, top_k, exclude_seen)
    assert (found.counts.users, found.counts.listed) == (len(rows), len(found.lists))
    assert found.counts.duplicates == 0


def test_cold_items_have_imputed_numbers_and_the_others_keep_their_scores() -> None:
    """Item 5 has one donor, item 2; only its text is its own."""
    rows = [{"donor": 2, "item": 5, "share": 1.0}]
    donors = Donors(pa.Table.from_pylist(rows, DONORS), len(IDS))
    imputed = {name: loaded.impute(donors) for name, loaded in SNAPSHOT.signals.items()}
    snapshot = dataclasses.replace(SNAPSHOT, signals=imputed, is_cold=donors.is_cold)
    histories = as_histories([(["i00", "i01"], [])])
    (before, after) = (scored(each, histories, config(12)) for each in (SNAPSHOT, snapshot))
    usual, own = (dict(zip(each.items[0].tolist(), each.numbers[0], strict=True)) for each in (before, after))
    of_donor = [place for place, name in enumerate(COLUMNS) if name.startswith(("transitions", "ease", "popularity"))]
    np.testing.assert_allclose(own[5][of_donor], usual[2][of_donor], rtol=1e-5)
    assert own[5][COLUMNS.index("text")] == usual[5][COLUMNS.index("text")]
    assert own[5][COLUMNS.index("retrieval")] != usual[5][COLUMNS.index("retrieval")], "its id is its donor's"
    for item in own:
        if item not in (-1, 5):
            np.testing.assert_allclose(own[item], usual[item], rtol=1e-4, atol=1e-5)


RULES = make_snapshot(long_tail_boost=0.5, diversity=0.4, exploration=0.5)


@hypothesis_settings(max_examples=40)
@given(st.lists(users, max_size=4), st.integers(2, 14), st.booleans())
def test_with_all_rules_it_is_a_list(rows: Rows, top_k: int, exclude_seen: bool) -> None:
    table = recommend_batch(RULES, as_histories(rows), config(top_k, 20, exclude_seen)).lists
    is_contract_of_lists(rows, table, top_k, exclude_seen)


def test_rules_of_the_shop_reach_the_lists() -> None:
    """A pinned item is a candidate of everyone who has not seen it; what was just taken is left out for a while."""
    open_ids = [item for item in IDS if item not in UNAVAILABLE]
    pinned, taken = open_ids[-1], open_ids[0]
    ruled = make_snapshot(
        catalog=pa.table({"item_id": pa.array(IDS)}), pins=[{"item": pinned}], quiet={"days": 1e4, "events": ["view"]}
    )
    rows: Rows = [([taken], []), ([taken, pinned], []), ([], [])]
    found = recommend_batch(ruled, as_histories(rows), config(3, 3, exclude_seen=False))
    lists = {user: part["item_id"].to_list() for user, part in found.lists.to_pandas().groupby("user_id")}
    assert [lists["u0"][0], lists["u2"][0]] == [pinned] * 2
    assert pinned not in lists["u1"], "the user just took it"
    assert taken not in lists["u0"] + lists["u1"]
    sources = {row["source"]: row["reason"] for row in found.lists.to_pylist() if row["item_id"] == pinned}
    assert sources == {"pinned": "chosen by the shop"}
    assert found.counts.removed == {"quiet": 3}
    assert found.counts.moved["pins"] == 2


def test_what_a_rule_added_to_a_score_can_be_told_from_log_p() -> None:
    """The first place too may stand there by a rule."""
    nobody = as_histories([([], [])])
    plain = recommend_batch(SNAPSHOT, nobody, config())
    assert plain.log_probabilities.tolist() == plain.lists["score"].to_pylist()
    last = plain.lists["item_id"][4].as_py()
    boosts = [{"items": [last], "factor": 1e3}]
    boosted = make_snapshot(catalog=pa.table({"item_id": pa.array(IDS)}), boosts=boosts)
    found = recommend_batch(boosted, nobody, config())
    assert found.lists["item_id"][0].as_py() == last
    changed = np.asarray(found.lists["score"]) - found.log_probabilities
    assert changed == pytest.approx([np.log(1e3), 0, 0, 0, 0], abs=1e-5)


def test_what_was_shown_and_not_taken_goes_down_or_out() -> None:
    rows: Rows = [(["i00"], []), (["i00"], []), (["i00"], []), ([], [])]
    histories, settings = as_histories(rows), config(4, 10)
    before = recommend_batch(SNAPSHOT, histories, settings).lists.to_pylist()
    best = before[0]["item_id"]
    shown = [[], [best], [best] * 3, [best] * 3]
    moment = EPOCH + dt.timedelta(days=7)
    for field, lists in zip(SERVED, (shown, [[moment] * len(each) for each in shown]), strict=True):
        histories = histories.append_column(field, pa.array(lists, field.type))

    def found(**served: Any) -> tuple[Lists, dict[str, int]]:
        done = recommend_batch(make_snapshot(exclude_served=served), histories, settings)
        lists: Lists = defaultdict(list)
        for row in done.lists.to_pylist():
            lists[row["user_id"]].append(row)
        return lists, done.counts.removed

    out, removed = found(times=3, days=2)
    assert removed == {"served": 2}
    assert [best in [row["item_id"] for row in out[user]] for user in ("u0", "u1", "u2", "u3")] == [
        *[True] * 2,
        *[False] * 2,
    ]
    down, removed = found(times=None, factor=0.5, days=2)
    assert removed == {}
    for user, num in (("u0", 0), ("u1", 1)):
        score = next(row["score"] for row in down[user] if row["item_id"] == best)
        assert score == pytest.approx(before[0]["score"] + num * np.log(0.5), abs=1e-4)
    assert found(times=1, days=0.5)[1] == {"served": 0}, "these impressions are older"


@given(st.lists(users, min_size=1, max_size=4), st.booleans())
def test_a_reason_is_true(rows: Rows, exclude_seen: bool) -> None:
    """What it names is in the user's history."""
    for number, (items, _) in enumerate(rows):
        for row in recommended(rows, config(6, 12, exclude_seen))[f"u{number}"]:
            had = {TITLES[IDS.index(item)] for item in items if item in IDS}
            match row["source"]:
                case "ranker":
                    assert row["reason"] == "in line with your history"
                    assert had
                case "transitions":
                    assert row["reason"].removeprefix("often chosen with ") in had
                case "ease":
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


def test_every_source_occurs() -> None:
    """So the test above can fail: with another weight, another source comes first."""
    rows: Rows = [(["i00", "i01", "i05"], [])]
    for name, source in (
        ("candidate_pass", "ranker"),
        ("transitions_history_all_time", "transitions"),
        ("ease_decayed", "ease"),
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


@pytest.mark.parametrize("candidate_pass", [True, False])
def test_the_candidate_pass_adds_to_retrieval(candidate_pass: bool) -> None:
    """Retrieval and it together are the ranker's candidate logits, but for a constant of the user."""
    snapshot = make_snapshot(
        fusion=Fusion(weights={"retrieval": 1.0, "candidate_pass": 1.0}), candidate_pass=candidate_pass
    )
    found = recommended([(["i00", "i04"], [])], config(12, 12, exclude_seen=False), snapshot)["u0"]
    items, gaps, events = torch.tensor([[0, 4]]), torch.tensor([[0, 12]]), torch.tensor([[1, 1]])
    rows = torch.tensor([[IDS.index(item) for item in AVAILABLE]])
    with torch.no_grad():
        user, vectors = RANKER(items, gaps, events)
        beyond = RANKER(items, gaps, events, rows)[0]
        plain = vectors[rows[0]] @ user[0]
    logits = beyond if candidate_pass else plain
    expected = dict(zip(AVAILABLE, logits.log_softmax(dim=0).tolist(), strict=True))
    assert {row["item_id"]: row["score"] for row in found} == pytest.approx(expected, abs=1e-5)
    assert (beyond - plain).std() > 0.05, "the pass says something"


@pytest.mark.parametrize("candidate_pass", [True, False])
def test_a_decoder_in_bfloat16_makes_nearly_the_same_lists(candidate_pass: bool) -> None:
    """As it reads on a GPU."""
    rows = [(["i00", "i04"], ["i07"]), (["i05"], []), ([], [])]
    whole = recommended(rows, config(), make_snapshot(candidate_pass=candidate_pass))
    ranker = tiny_ranker(len(IDS))
    ranker.decode_in(torch.bfloat16)
    rounded = recommended(rows, config(), make_snapshot(candidate_pass=candidate_pass, ranker=ranker))
    assert rounded["u0"] != whole["u0"]
    for user, found in whole.items():
        scores = {row["item_id"]: row["score"] for row in rounded[user]}
        assert {row["item_id"]: row["score"] for row in found} == pytest.approx(scores, abs=0.05)


def test_fused_scores_are_a_log_softmax_of_the_weighted_sum() -> None:
    histories = as_histories([(["i00", "i04"], ["i07"]), (["i05"], IDS), ([], [])])
    ((owners, found),) = blocks(SNAPSHOT, histories, config())
    assert owners.tolist() == [2, 1, 0], "by the length of the history"
    scores = fuse(SNAPSHOT, found).log_probabilities
    assert (scores.dtype, scores.shape) == (np.float32, found.items.shape)
    weights = np.array(list(EVERY_SIGNAL.weights.values()))
    for row, (user, items, numbers) in enumerate(zip(owners, found.items, found.numbers, strict=True)):
        there = items >= 0
        sums = numbers[there] @ weights if user < 2 else numbers[there][:, COLUMNS.index("popularity")]
        expected = np.log(np.exp(sums) / np.exp(sums).sum())
        np.testing.assert_allclose(scores[row, there], expected, atol=1e-5)
        assert (scores[row, ~there] == -np.inf).all()
        assert there.any() == (user != 1), "a user who saw everything has no candidate"


@hypothesis_settings(max_examples=30)
@given(st.lists(users, min_size=2, max_size=5), st.booleans(), st.integers(1, 3))
def test_a_batch_equals_its_users_one_at_a_time(rows: Rows, exclude_seen: bool, block: int) -> None:
    """For all batches, orders and sizes of blocks."""
    histories, settings = as_histories(rows), config(4, 6, exclude_seen)
    together = [recommended(histories, settings), recommended(histories.take(list(range(len(rows)))[::-1]), settings)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "CPU_USERS", block)
        together.append(recommended(histories, settings))
    for number in range(len(rows)):
        alone = recommended(histories.slice(number, 1), settings)[f"u{number}"]
        for other in together:
            found = other[f"u{number}"]
            assert [(row["item_id"], row["reason"]) for row in found] == [
                (row["item_id"], row["reason"]) for row in alone
            ]
            assert [row["score"] for row in found] == pytest.approx([row["score"] for row in alone], abs=1e-5)


WITH_TREES = dataclasses.replace(EVERY_SIGNAL, trees=random_trees(COLUMNS))


def test_trees_reorder_the_lists_of_users_with_a_history() -> None:
    """In a block of the night, and for the single user of the live service. All others have weights alone."""
    rows: Rows = [(["i00", "i04"], []), ([], []), (["i05"], ["i07"]), (["gone"], []), (["i02", "i01", "i08"], [])]
    histories, snapshot = as_histories(rows), make_snapshot(fusion=WITH_TREES)
    plain, found = (recommended(histories, config(12, 12, False), each) for each in (SNAPSHOT, snapshot))
    is_contract_of_lists(rows, recommend_batch(snapshot, histories, config(5, 12)).lists, 5, True)
    for user, (items, _) in enumerate(rows):
        name, has_history = f"u{user}", any(item in IDS for item in items)
        assert (found[name] != plain[name]) == has_history
        assert sum(np.exp(row["score"]) for row in found[name]) == pytest.approx(1, abs=1e-5)
        alone = recommended(histories.slice(user, 1), config(12, 12, False), snapshot)[name]
        assert names(alone) == names(found[name])
        assert [row["score"] for row in alone] == pytest.approx([row["score"] for row in found[name]], abs=1e-5)
    lists = recommend_batch(snapshot, histories, config(12, 12, False))
    for user in (0, 2, 4):
        own = np.flatnonzero(lists.users == user)
        scores = lists.lists["score"].to_numpy()[own]
        sums = lists.contributions[own].sum(axis=1)
        np.testing.assert_allclose(scores - scores[0], sums - sums[0], atol=1e-4)


def test_trees_leave_sessions_and_searches_alone() -> None:
    histories = as_histories([(["i00", "i04"], [])] * 3)
    newest = EPOCH.timestamp() * 1e6 + 3600e6
    constraints = RequestConstraints(
        excluded=np.zeros((3, len(IDS)), dtype=bool),
        also=np.zeros((3, 0), dtype=np.int64),
        searching=np.array([False, True, False]),
        asked=np.full(3, newest),
    )
    moments = np.array([SNAPSHOT.now, SNAPSHOT.now, newest])
    ((owners, found),) = blocks(SNAPSHOT, histories, config(12, 12, False), moments, constraints)
    plain, corrected = (fuse(make_snapshot(fusion=each), found) for each in (EVERY_SIGNAL, WITH_TREES))
    changed = (plain.log_probabilities != corrected.log_probabilities).any(axis=1)
    assert changed[np.argsort(owners)].tolist() == [True, False, False]


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_numbers_do_not_depend_on_the_blocks(exclude_seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = as_histories([(["i00", "i04"], ["i07"]), ([], []), (["i02"], []), (["i01", "gone"], []), (["i09"], [])])

    def by_user() -> dict[int, dict[int, list[float]]]:
        return {
            int(user): {int(item): row.tolist() for item, row in zip(items, numbers, strict=True) if item >= 0}
            for owners, found in blocks(SNAPSHOT, histories, config(exclude_seen=exclude_seen))
            for user, items, numbers in zip(owners, found.items, found.numbers, strict=True)
        }

    whole = by_user()
    monkeypatch.setattr(scoring, "CPU_USERS", 2)
    parts = by_user()
    assert sorted(parts) == sorted(whole) == list(range(5))
    for user, numbers in whole.items():
        assert list(parts[user]) == list(numbers)
        for item, row in numbers.items():
            assert parts[user][item] == pytest.approx(row, abs=1e-5)


@pytest.mark.parametrize("candidates", [2, 3, 20])
def test_equal_scores_come_by_item_id(candidates: int) -> None:
    """Also where they meet the cut between what is retrieved and what is not."""
    equal = make_snapshot(fusion=ONLY_RANKER, candidate_pass=False)
    loaded = equal.signals["ranker"]
    assert isinstance(loaded, LoadedRanker)
    loaded.item_vectors = torch.zeros_like(loaded.item_vectors)
    loaded.index = RecommendableIndex(loaded.item_vectors, loaded.recommendable)
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


def test_a_user_who_saw_everything_gets_no_rows() -> None:
    rows: Rows = [(["i00"], []), (["i01"], IDS), (["i02"], [])]
    table = recommend_batch(SNAPSHOT, as_histories(rows), config(3)).lists
    assert table["user_id"].to_pylist() == ["u0"] * 3 + ["u2"] * 3
    everyone = recommend_batch(SNAPSHOT, as_histories(rows), config(3, exclude_seen=False)).lists
    assert everyone["user_id"].to_pylist() == ["u0"] * 3 + ["u1"] * 3 + ["u2"] * 3
    assert len(recommend_batch(SNAPSHOT, as_histories(rows[1:2]), config(3)).lists) == 0


@pytest.mark.parametrize("fusion", [EVERY_SIGNAL, ONLY_RANKER, SHORT], ids=["all", "without popularity", "short"])
def test_popular_items_where_nothing_is_known_of_a_user(fusion: Fusion) -> None:
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


def test_repeats_are_listed_where_they_may() -> None:
    """By how often and how lately; and no candidate for repeats alone where seen items are left out."""
    again = make_snapshot(fusion=Fusion(weights={"repeat": 1.0}))
    rows: Rows = [(["i07", "i04", "i07", "i08"], [])]
    found = recommended(rows, config(3, 6, exclude_seen=False), again)["u0"]
    assert names(found) == ["i07", "i08", "i04"]
    assert {row["reason"] for row in found} == {"you chose it before"}
    assert not {*names(recommended(rows, config(3, 6), again)["u0"])} & {"i07", "i08", "i04"}


def test_items_that_people_come_back_for_come_first() -> None:
    """Among items that the user took as often; an item that the user never took gains nothing."""
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


def test_the_popularity_of_several_days_is_each_users_own() -> None:
    """As validation scores each user on the day of the last basket."""
    by_day = np.stack([POPULARITY, POPULARITY[:, ::-1]])
    days = np.array([100, 200])
    snapshot = make_snapshot(popularity=by_day, days=days)
    first, other = snapshot.signals["popularity"].most_popular(2).tolist()  # type: ignore[attr-defined]
    assert first != other
    now = np.array([250.5, 100.0]) * 86_400e6
    ((owners, found),) = blocks(snapshot, as_histories([([], []), ([], [])]), config(), now)
    column = COLUMNS.index("popularity")
    assert owners.tolist() == [0, 1]
    for user, day in ((0, 1), (1, 0)):
        there = found.items[user] >= 0
        expected = by_day[day][:, found.items[user, there]]
        np.testing.assert_array_equal(found.numbers[user, there, column : column + len(HORIZONS)].T, expected)


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
    ranker = tiny_ranker(len(IDS), user_texts=True)
    ranker.load_state_dict(RANKER.state_dict(), strict=False)
    return make_snapshot(fusion=fusion, ranker=ranker).with_texts(SAID)


TALKING = talking()


def with_words(rows: list[tuple[list[tuple[str, str]], str]]) -> pa.Table:
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
    speaking = with_words(others)
    speaking = speaking.set_column(
        0, HISTORIES.field("user_id"), pa.array([f"x{n}" for n in range(len(others))], pa.string())
    )
    before, after = recommended(plain, settings), recommended(pa.concat_tables([silent, speaking]), settings, TALKING)
    for user, found in before.items():
        scores, own = ({row["item_id"]: row["score"] for row in rows} for rows in (found, after[user]))
        assert own == pytest.approx(scores, abs=1e-4)


@given(st.lists(talkers, max_size=4), st.booleans())
def test_whatever_is_said_it_is_a_list_with_true_reasons(rows: list[Any], exclude_seen: bool) -> None:
    table = recommend_batch(TALKING, with_words(rows), config(5, 12, exclude_seen)).lists
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
    (found,) = recommended(with_words([([("", "pot")], "")]), config(3, 12), by_text).values()
    assert (found[0]["item_id"], found[0]["source"], found[0]["reason"]) == ("i06", "text", "close to your query")


def test_a_query_alone_brings_its_nearest_items_among_the_candidates() -> None:
    """Even where there are so few candidates that the retriever and popularity would not have found them."""
    by_text = talking(Fusion(weights={"text": 1.0}))
    rows = with_words([([("", "pan")], "")])
    (found,) = recommended(rows, config(2, 2), by_text).values()
    assert found[0]["item_id"] == "i02"


def test_a_fresh_search_weighs_like_the_whole_history_and_an_old_one_hardly() -> None:
    by_text = talking(Fusion(weights={"text": 1.0}))
    rows = with_words([([("i00", ""), ("i01", ""), ("", "pot")], "")])
    late = dataclasses.replace(by_text, now=(EPOCH + dt.timedelta(days=400)).timestamp() * 1e6)
    without = recommended(with_words([([("i00", ""), ("i01", "")], "")]), config(12, 12, False), by_text)["u0"]
    fresh, stale = (recommended(rows, config(12, 12, False), one)["u0"] for one in (by_text, late))

    def score(found: list[dict[str, Any]]) -> float:
        return {row["item_id"]: float(row["score"]) for row in found}["i06"]

    assert score(fresh) > score(stale) + 0.05
    assert score(stale) == pytest.approx(score(without), abs=0.01)


def test_what_a_user_is_is_enough_for_a_ranker_that_reads_it() -> None:
    rows = with_words([([], "cook"), ([], "")])
    found = recommended(rows, config(5, 12), talking(ONLY_RANKER))
    assert {row["reason"] for row in found["u0"]} == {"in line with what you told us"}
    assert {row["source"] for row in found["u1"]} == {"popularity"}
    assert names(found["u0"]) != names(found["u1"])
    deaf = recommended(rows, config(5, 12), make_snapshot().with_texts(SAID))
    assert names(deaf["u0"]) == names(deaf["u1"]), "a ranker that never learned of texts says nothing of them"


def test_popularity_and_the_ranker_rank_where_only_a_description_is_known() -> None:
    """The fitted weights are for users with a history."""
    histories, snapshot = with_words([([], "cook"), ([], ""), ([("i03", "")], "cook")]), talking(SHORT)
    ((owners, found),) = blocks(snapshot, histories, config())
    described, nothing, both = user_weights(snapshot, found)[np.argsort(owners)]
    assert {name: weight for name, weight in zip(COLUMNS, described, strict=True) if weight} == {
        "popularity": 1.0,
        "retrieval": 1.0,
    }
    assert {name: weight for name, weight in zip(COLUMNS, nothing, strict=True) if weight} == {"popularity": 1.0}
    np.testing.assert_array_equal(both, SHORT.of_users(COLUMNS, np.array([1]), found.profiles.in_session[:1])[0])


def test_weights_depend_on_the_number_of_items_and_on_the_session() -> None:
    """Each item of the catalog counts once; explanations and contributions use these weights too."""
    fusion = Fusion(
        weights={"retrieval": 1.0, "text": 0.2},
        short={"popularity": 2.0},
        session={"popularity": 3.0},
        temperature=1,
        typical_length=8,
    )
    rows: Rows = [(["i00"], []), (["i00", "i04", "i00", "gone", "i06"], [])]
    newest = np.array([(EPOCH + dt.timedelta(hours=len(items) - 1)).timestamp() * 1e6 for items, _ in rows])
    snapshot = make_snapshot(fusion=fusion)

    def weights(minutes_later: float) -> npt.NDArray[np.float32]:
        ((owners, found),) = blocks(snapshot, as_histories(rows), config(), newest + minutes_later * 60e6)
        return user_weights(snapshot, found)[np.argsort(owners)]

    popularity, factor = COLUMNS.index("popularity"), np.array([1 / 2**0.5 - 1 / 3, 1 / 2 - 1 / 3])
    expected = np.stack([fusion.vector(COLUMNS)] * 2)
    expected[:, popularity] = 2 * factor
    np.testing.assert_allclose(weights(31), expected, rtol=1e-6)
    expected[:, popularity] = 3 * factor
    np.testing.assert_allclose(weights(30), expected / (1 + factor[:, None]), rtol=1e-6)
    in_session = dataclasses.replace(snapshot, now=float(newest.min()))
    lists = recommend_batch(in_session, as_histories(rows), config(5, 12))
    assert np.abs(lists.contributions[:, popularity]).max() > 0.1
    assert "popularity" in lists.lists["source"].to_pylist()


def test_a_query_adds_weight_to_the_text_of_that_request_only() -> None:
    histories = as_histories([(["i00", "i04"], ["i07"]), (["i00", "i04"], ["i07"])])
    constraints = RequestConstraints(
        excluded=np.zeros((2, len(IDS)), dtype=bool),
        also=np.zeros((2, 0), dtype=np.int64),
        searching=np.array([True, False]),
        asked=np.full(2, SNAPSHOT.now),
    )
    ((owners, found),) = blocks(SNAPSHOT, histories, config(), constraints=constraints)
    asks, others = user_weights(SNAPSHOT, found)[np.argsort(owners)]
    raised = dict(zip(COLUMNS, (asks - others).tolist(), strict=True))
    assert raised.pop("query") == QUERY_WEIGHT
    assert set(raised.values()) == {0.0}
    np.testing.assert_array_equal(others, EVERY_SIGNAL.vector(COLUMNS))
    # where all other weights are divided, so is this one: a query leads the list in a session as at any time
    tempered = dataclasses.replace(EVERY_SIGNAL, typical_length=100, temperature=4.0)
    sessions = dataclasses.replace(found.profiles, in_session=np.ones(2, dtype=bool))
    found = dataclasses.replace(found, users=dataclasses.replace(found.users, profiles=sessions))
    temperature = tempered.temperature_of(np.array([2]), np.array([True]))
    assert temperature > 2
    asks, others = user_weights(dataclasses.replace(SNAPSHOT, fusion=tempered), found)[np.argsort(owners)]
    np.testing.assert_allclose((asks - others)[COLUMNS.index("query")] * temperature, QUERY_WEIGHT, rtol=1e-5)


def test_a_request_excludes_items_and_adds_candidates() -> None:
    histories = as_histories([(["i00"], []), (["i00"], [])])
    excluded = np.zeros((2, len(IDS)), dtype=bool)
    excluded[0, [1, 9]] = True
    also = np.array([[-1], [11]])
    constraints = RequestConstraints(
        excluded=excluded, also=also, searching=np.zeros(2, dtype=bool), asked=np.full(2, SNAPSHOT.now)
    )
    ((owners, found),) = blocks(SNAPSHOT, histories, config(1, 2), constraints=constraints)
    first, second = ({*found.items[row].tolist()} for row in np.argsort(owners))
    assert not first & {1, 9, 0}
    assert 11 in second
