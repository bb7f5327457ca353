"""A reason is true: it names the signal that lifts the item most, and an item that the user had.

Shapes: B users, C candidates, K list length, S numbers of all signals, I items.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.model.features import HistoryBatch, UserTexts
from recsys.ranking import explanations as module
from recsys.ranking.explanations import (
    EXPLORATION,
    EXPLORATION_SENTENCE,
    PINNED,
    PINNED_SENTENCE,
    Explained,
    contributions,
    explain,
)
from recsys.ranking.fusion import Fusion
from recsys.ranking.rerank import Reranked
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.scoring import Scored
from recsys.ranking.snapshot import Snapshot
from recsys.schema import ITEM_NEIGHBOURS
from recsys.signals import history_items
from recsys.signals.ease import LoadedEase
from recsys.signals.excluded import ExcludedItems
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import HORIZONS, LoadedPopularity
from recsys.signals.ranker_evidence import LoadedRanker
from recsys.signals.registry import SIGNALS, columns_of, usual_signals
from recsys.signals.repeat import LoadedRepeat
from recsys.signals.signal import LoadedSignal
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.text_ease import TextEase
from recsys.signals.text_evidence import LoadedText
from recsys.signals.transitions import LoadedTransitions
from recsys.signals.user_profiles import UserProfiles
from recsys.signals.users import UserBlock
from tests.ranking.tiny_ranker import tiny_ranker

NUM_ITEMS = 7
COLUMNS = columns_of(usual_signals())
ALL = Fusion(weights=dict.fromkeys(COLUMNS, 1.0))
RANKER = LoadedRanker(tiny_ranker(NUM_ITEMS), np.ones(NUM_ITEMS, dtype=bool), candidate_pass=False)
TITLES = pa.array(["Oak {Desk}", "", "Vase", "Lamp", "Pen", "Cup", "Jar"])

Cells = Mapping[tuple[int, int], float]


def neighbours_of(all_time: Cells, decayed: Cells) -> Neighbours:
    rows = [
        {
            "item": item,
            "other": other,
            "all_time": all_time.get((item, other), 0),
            "decayed": decayed.get((item, other), 0),
        }
        for item, other in sorted({*all_time, *decayed})
    ]
    return Neighbours.from_table(pa.Table.from_pylist(rows, ITEM_NEIGHBOURS), NUM_ITEMS)


def a_snapshot(
    all_time: Cells | None = None, decayed: Cells | None = None, texts: Sequence[Sequence[float]] | None = None
) -> Snapshot:
    """The same weights between items as transitions and as EASE."""
    neighbours = neighbours_of(all_time or {}, decayed or {})
    everything = np.ones(NUM_ITEMS, dtype=bool)
    popularity = np.ones((1, len(HORIZONS), NUM_ITEMS), dtype=np.float32)
    signals: dict[str, LoadedSignal] = {
        "ranker": RANKER,
        "transitions": LoadedTransitions(neighbours, NUM_ITEMS),
        "ease": LoadedEase(neighbours, NUM_ITEMS),
        "text": LoadedText(TextEase.of(np.array(texts or np.eye(NUM_ITEMS), dtype=np.float32)), everything),
        "popularity": LoadedPopularity(popularity, np.array([0]), everything),
        "repeat": LoadedRepeat(np.zeros(NUM_ITEMS, dtype=np.float32)),
    }
    assert tuple(signals) == tuple(signal.name for signal in usual_signals())
    unused: Any = None
    return Snapshot(
        signals=signals,
        item_ids=pa.array([f"i{item}" for item in range(NUM_ITEMS)]),
        titles=TITLES,
        recommendable=everything,
        is_cold=np.zeros(NUM_ITEMS, dtype=bool),
        event_kinds=unused,
        max_length=4,
        reads_texts=False,
        fusion=ALL,
        reranker=unused,
        now=0.0,
    )


def profiles(*users: Mapping[int, float]) -> UserProfiles:
    """Users whose items have the same weights in both ways; {} for an empty history."""
    taken = [(row, item, share) for row, user in enumerate(users) for item, share in user.items() if share]
    rows, items, values = np.array(taken, dtype=np.float64).reshape(-1, 3).T
    shares = SparseRows.of(rows.astype(np.int64), items.astype(np.int64), values, len(users))
    known = shares.lengths > 0
    return UserProfiles(
        last=shares,
        history=shares,
        repeats=shares,
        has_tokens=known,
        in_session=known,
        searches=np.zeros((len(users), 0), dtype=np.float32),
        by_description=np.zeros(len(users), dtype=bool),
    )


def scored_of(snapshot: Snapshot, known: UserProfiles) -> Scored:
    num_users = len(known.has_tokens)
    nothing = np.zeros((num_users, 1), dtype=np.int64)
    history = HistoryBatch(
        items=nothing, gaps=nothing, events=nothing, texts=nothing, text_kinds=nothing, lengths=nothing[:, 0] + 1
    )
    users = UserBlock(
        profiles=known,
        history=history,
        texts=UserTexts.none(),
        now=np.zeros(num_users),
        excluded=ExcludedItems.none(),
    )
    return Scored(
        items=nothing,
        numbers=np.zeros((num_users, 1, len(COLUMNS)), dtype=np.float32),
        evidence={name: loaded.read(users) for name, loaded in snapshot.signals.items()},
        users=users,
        searching=np.zeros(num_users, dtype=bool),
    )


def lifts_of(*places: Mapping[str, float]) -> npt.NDArray[np.float32]:
    """[1, K, S] of one user's list."""
    return np.array([[[place.get(name, 0.0) for name in COLUMNS] for place in places]], dtype=np.float32)


def lists_of(items: npt.NDArray[np.int64]) -> Reranked:
    """Lists [B, K] of items of which none was drawn or pinned."""
    none, scores = np.zeros(items.shape, dtype=bool), np.zeros(items.shape, dtype=np.float32)
    return Reranked(items=items, scores=scores, explored=none, pinned=none, counts=RerankCounts())


def found_of(
    snapshot: Snapshot,
    known: UserProfiles,
    items: Sequence[Sequence[int]],
    lifts: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
) -> Explained:
    return explain(snapshot, scored_of(snapshot, known), weights, lists_of(np.array(items)), lifts)


def explained(
    lifts: npt.NDArray[np.float32], items: list[int], known: UserProfiles, snapshot: Snapshot, fusion: Fusion = ALL
) -> list[tuple[str, int | str]]:
    """(source, the item that is named, else the sentence where it is not the first) of each place of one list."""
    found = found_of(snapshot, known, [items], lifts, fusion.vector(COLUMNS)[None])
    return [
        (
            found.names[source],
            int(item) if item >= 0 or not sentence else SIGNALS[found.names[source]].sentences[sentence],
        )
        for source, sentence, item in zip(found.source[0], found.sentence[0], found.item[0], strict=True)
    ]


def test_a_search_is_named_where_it_adds_more_than_the_history() -> None:
    directions = np.eye(NUM_ITEMS, dtype=np.float32)
    user = profiles({0: 1.0})
    texts = [[0.0] * NUM_ITEMS for _ in range(NUM_ITEMS)]
    for item, near in ((0, (1.0, 0.0)), (1, (0.8, 0.6)), (2, (0.6, 0.8)), (3, (-1.0, 0.0)), (4, (0.0, -1.0))):
        texts[item][:2] = near
    searched = dataclasses.replace(user, searches=directions[[1]])
    by_text, snapshot = lifts_of(*[{"text": 1.0}] * 3), a_snapshot(texts=texts)
    query = ("text", "close to your query")
    like_an_item = Fusion(weights=ALL.weights | {"query": 0.0})
    assert explained(by_text, [1, 2, 4], searched, snapshot, like_an_item) == [("text", 0), query, ("ranker", -1)]
    assert explained(by_text, [1, 2, 4], searched, snapshot) == [query, query, ("ranker", -1)]
    stale = dataclasses.replace(user, searches=directions[[1]] * 0.1)
    assert explained(by_text, [1, 2, 4], stale, snapshot) == [("text", 0), ("text", 0), ("ranker", -1)]


def test_without_an_item_the_ranker_goes_by_the_users_words() -> None:
    described = dataclasses.replace(profiles({}), has_tokens=np.array([True]))
    found = explained(lifts_of({"retrieval": 1.0}), [1], described, a_snapshot())
    assert found == [("ranker", "in line with what you told us")]


@given(st.integers(0, 9999), st.integers(1, 4), st.integers(1, 6))
def test_contributions_are_weighted_distances_from_the_mean(seed: int, users: int, candidates: int) -> None:
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(users, candidates, len(COLUMNS))).astype(np.float32)
    valid = random.random((users, candidates)) < 0.7
    columns = random.integers(0, candidates, (users, 3))
    weights = random.random((users, len(COLUMNS))).astype(np.float32)
    found = contributions(numbers, valid, columns, weights)
    assert found.shape == (users, 3, len(COLUMNS))
    assert found.dtype == np.float32
    for user in range(users):
        mean = numbers[user, valid[user]].mean(axis=0) if valid[user].any() else np.zeros(len(COLUMNS))
        for place, column in enumerate(columns[user]):
            np.testing.assert_allclose(found[user, place], (numbers[user, column] - mean) * weights[user], atol=1e-5)


def test_a_number_that_is_the_same_for_all_lifts_none() -> None:
    """Not by the last bit of a sum either: then the reason would hold for no item."""
    numbers = np.full((1, 331, len(COLUMNS)), np.log(0.02), dtype=np.float32)
    valid, weights = np.ones((1, 331), dtype=bool), np.ones((1, len(COLUMNS)), dtype=np.float32)
    assert not contributions(numbers, valid, np.array([[0, 330]]), weights).any()


@given(st.lists(st.floats(-2, 2, width=32), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_the_source_is_the_signal_that_lifts_most(values: list[float]) -> None:
    places = iter(values)
    sums = {signal.name: sum(next(places) for _ in signal.columns) for signal in usual_signals()}
    everything = a_snapshot({(0, 1): 0.5}, {(0, 1): 0.5}, [[1.0, 0.0]] * 2 + [[0.0, 1.0]] * (NUM_ITEMS - 2))
    user = dataclasses.replace(profiles({0: 1.0}), repeats=profiles({1: 1.0}).repeats)
    ((source, _),) = explained(np.array([[values]], dtype=np.float32), [1], user, everything)
    if max(sums.values()) > 1e-6:
        assert sums[source] == pytest.approx(max(sums.values()), abs=1e-6)
    elif max(sums.values()) < 0:
        assert source == "ranker", "an item that no signal lifts is in line with the history"


def test_a_negative_weight_gives_no_reason() -> None:
    """What is unpopular, or was not taken before, can be lifted for that: its reason may not say the opposite."""
    weights = ALL.weights | dict.fromkeys(SIGNALS["popularity"].columns, -1.0)
    lifts = lifts_of({"popularity": 1.0}, {"repeat": 1.0}, {"repeat": 1.0})
    found = explained(lifts, [1, 1, 0], profiles({0: 1.0}), a_snapshot(), Fusion(weights=weights))
    assert found == [("ranker", -1), ("ranker", -1), ("repeat", -1)]


LAST, LATELY = "transitions_last_all_time", "transitions_last_decayed"
HISTORY, HISTORY_LATELY = "transitions_history_all_time", "transitions_history_decayed"


def test_a_transition_names_the_item_from_which_most_comes() -> None:
    history = profiles({0: 0.2, 2: 0.5, 3: 0.3})
    snapshot = a_snapshot({(0, 1): 0.9, (2, 1): 0.1, (3, 1): 0.5}, {(0, 4): 1.0, (5, 1): 1.0})
    lifts = lifts_of({LAST: 1.0}, {HISTORY_LATELY: 1.0, "text": 0.5}, {HISTORY: 1.0})
    found = explained(lifts, [1, 4, 6], history, snapshot)
    assert found == [("transitions", 0), ("transitions", 0), ("ranker", -1)], "nothing of the history leads to item 6"
    only_last = Fusion(weights={"retrieval": 1.0, LAST: 1.0})
    assert explained(lifts, [1, 4, 6], history, snapshot, only_last)[1] == ("ranker", -1)


def test_reasons_follow_each_users_own_weights() -> None:
    """One user by all time, one by late, one without the ranker."""
    snapshot = a_snapshot({(0, 1): 0.9, (2, 1): 0.1}, {(0, 1): 0.1, (2, 1): 0.9})
    chosen = ({LAST: 1.0}, {LATELY: 1.0}, {"popularity": 1.0})
    weights = np.array([[some.get(name, 0.0) for name in COLUMNS] for some in chosen], np.float32)
    weights[:2, COLUMNS.index("retrieval")] = 1.0
    lifts = np.concatenate([lifts_of({LAST: 1.0}, {})] * 3)
    found = found_of(snapshot, profiles(*[{0: 0.5, 2: 0.5}] * 3), [[1, 6]] * 3, lifts, weights)
    assert found.item[:, 0].tolist() == [0, 2, -1]
    sources = [[found.names[source] for source in row] for row in found.source]
    assert sources == [["transitions", "ranker"], ["transitions", "ranker"], ["popularity", "popularity"]]


def test_ease_names_the_item_that_has_the_largest_share() -> None:
    history = profiles({0: 0.2, 2: 0.5, 3: 0.3})
    snapshot = a_snapshot({(0, 1): 0.9, (2, 1): 0.1, (3, 1): 0.5}, {(2, 1): 0.02, (0, 4): 1.0})
    lifts = lifts_of(*[{"ease_all_time": 1.0}] * 3)
    all_time = Fusion(weights=ALL.weights | {"ease_decayed": 0.1})
    found = explained(lifts, [1, 4, 6], history, snapshot, all_time)
    assert found == [("ease", 0), ("ease", 0), ("ranker", -1)]
    of_late = Fusion(weights=ALL.weights | {"ease_all_time": 0.1})
    assert explained(lifts[:, :1], [1], history, snapshot, of_late) == [("ease", 2)]


def test_a_text_names_the_nearest_other_item() -> None:
    texts = [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]
    history = profiles({0: 0.1, 2: 0.8, 5: 0.1})
    found = explained(lifts_of(*[{"text": 1.0}] * 4), [1, 5, 3, 0], history, a_snapshot(texts=texts))
    assert found == [("text", 2), ("text", 0), ("ranker", -1), ("text", 5)]


def test_a_cold_item_is_explained_by_its_text() -> None:
    """Nobody chose it: its imputed numbers come from items with similar text."""
    texts = [[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    snapshot = a_snapshot({(0, 1): 0.9, (0, 2): 0.9}, texts=texts)
    snapshot = dataclasses.replace(snapshot, is_cold=np.arange(NUM_ITEMS) > 0)
    history = profiles({0: 1.0})
    lifts = lifts_of(*[{"ease_all_time": 1.0, LAST: 0.5, "popularity": 2.0}] * 2)
    assert explained(lifts, [1, 2], history, snapshot) == [("text", 0), ("ranker", -1)], "2 is not similar to 0"
    assert explained(lifts, [1, 2], profiles({}), snapshot) == [(EXPLORATION, -1)] * 2
    assert explained(lifts_of({"popularity": 1.0}), [0], profiles({}), snapshot) == [("popularity", -1)]


def test_popularity_is_the_source_where_nothing_is_known_of_a_user() -> None:
    """Whether the item is popular for its list or not; and where the ranker has no weight."""
    lifts = lifts_of({"popularity": 1.0}, {"popularity": -1.0}, {"popularity": 0.0})
    assert explained(lifts, [1, 2, 3], profiles({}), a_snapshot()) == [("popularity", -1)] * 3
    known = profiles({0: 1.0})
    sources = [source for source, _ in explained(lifts, [1, 2, 3], known, a_snapshot())]
    assert sources == ["popularity", "ranker", "ranker"]
    without = Fusion(weights={"popularity": 1.0, "text": 1.0})
    assert explained(lifts, [1, 2, 3], known, a_snapshot(), without) == [("popularity", -1)] * 3


@given(st.integers(0, 9999), st.sampled_from([1, 3, 500]), st.sampled_from([2, 50]))
def test_a_named_item_is_of_the_history_and_has_a_share(seed: int, at_a_time: int, named_from: int) -> None:
    random = np.random.default_rng(seed)
    shares = random.integers(0, 3, (3, NUM_ITEMS)) * (random.random((3, 1)) < 0.8) / 4
    history = profiles(*[dict(enumerate(row)) for row in shares.tolist()])
    texts = random.normal(size=(NUM_ITEMS, 2)).astype(np.float32)
    all_time, decayed = (
        dict.fromkeys(zip(*random.integers(0, NUM_ITEMS, (2, 9)).tolist(), strict=True), 0.5) for _ in "12"
    )
    snapshot, rows = a_snapshot(all_time, decayed, texts.tolist()), TextEase.of(texts).rows
    items = random.permuted(np.tile(np.arange(NUM_ITEMS), (3, 1)), axis=1)[:, :4]
    items[random.random(items.shape) < 0.2] = -1
    lifts = random.normal(size=(3, 4, len(COLUMNS))).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_A_TIME", at_a_time)
        patch.setattr(history_items, "NAMED_FROM", named_from)
        found = found_of(snapshot, history, items.tolist(), lifts, np.ones((3, len(COLUMNS)), np.float32))
    steps = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for cells in (all_time, decayed):
        for pair in cells:
            steps[pair] += 0.5
    for user, place in zip(*np.nonzero(items >= 0), strict=True):
        item, source, named = items[user, place], found.names[found.source[user, place]], found.item[user, place]
        assert (named >= 0) == (source in ("transitions", "ease", "text"))
        if named < 0:
            continue
        weightiest = np.sort(shares[user])[::-1][:named_from]
        assert shares[user, named] > 0
        assert shares[user, named] >= weightiest[-1], "one of the weightiest"
        if source == "text":
            assert named != item
            assert rows[named] @ rows[item] > 0
        else:
            assert steps[named, item] > 0
        if source == "transitions" and named_from > NUM_ITEMS:
            had = np.flatnonzero((shares[user] > 0) & (shares[user] >= (weightiest[-1] or 1e-9)))
            assert shares[user, named] * steps[named, item] == max(shares[user, had] * steps[had, item])
    assert (found.item[items < 0] == -1).all()


def test_drawn_items_are_something_new_to_try() -> None:
    snapshot, known = a_snapshot({(0, 1): 0.9}), profiles({0: 1.0})
    lifts, weights = lifts_of({LAST: 1.0}, {LAST: 1.0}), ALL.vector(COLUMNS)[None]
    lists = dataclasses.replace(lists_of(np.array([[1, 1]])), explored=np.array([[False, True]]))
    found = explain(snapshot, scored_of(snapshot, known), weights, lists, lifts)
    source, reason = found.at(np.array([0, 0]), np.array([0, 1]), TITLES)
    assert source.to_pylist() == ["transitions", EXPLORATION]
    assert reason.to_pylist() == ["often chosen with Oak {Desk}", EXPLORATION_SENTENCE]


def test_pinned_items_are_chosen_by_the_shop() -> None:
    snapshot, known = a_snapshot({(0, 1): 0.9}), profiles({0: 1.0})
    lifts, weights = lifts_of({LAST: 1.0}, {LAST: 1.0}), ALL.vector(COLUMNS)[None]
    lists = dataclasses.replace(lists_of(np.array([[1, 1]])), pinned=np.array([[True, False]]))
    found = explain(snapshot, scored_of(snapshot, known), weights, lists, lifts)
    source, reason = found.at(np.array([0, 0]), np.array([0, 1]), TITLES)
    assert source.to_pylist() == [PINNED, "transitions"]
    assert reason.to_pylist() == [PINNED_SENTENCE, "often chosen with Oak {Desk}"]


def test_sentences_name_titles() -> None:
    names = (*SIGNALS.names, EXPLORATION)
    named = {"transitions": 0, "ease": 3, "text": 2}
    found = Explained(
        names=names,
        source=np.arange(len(names))[None],
        sentence=np.zeros((1, len(names)), dtype=np.int64),
        item=np.array([[named.get(name, -1) for name in names]]),
    )
    users, places = np.zeros(len(names), np.int64), np.arange(len(names))
    source, reason = found.at(users, places, TITLES)
    assert source.to_pylist() == list(names)
    assert dict(zip(names, reason.to_pylist(), strict=True)) == {
        "ranker": "in line with your history",
        "transitions": "often chosen with Oak {Desk}",
        "ease": "chosen by people who chose Lamp",
        "text": "similar to Vase",
        "popularity": "popular now",
        "repeat": "you chose it before",
        "lm": "its title fits what you chose before",
        EXPLORATION: EXPLORATION_SENTENCE,
    }
    assert (source.type, reason.type) == (pa.string(), pa.string())
    assert [column.to_pylist() for column in found.at(users[:0], places[:0], TITLES)] == [[], []]
