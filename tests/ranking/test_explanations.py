"""A reason is true: it names the source that lifts the item most, and an item that the user had.

Shapes: B users, C candidates, K list length, S signals, I items.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking import explanations as module
from recsys.ranking.explanations import (
    EXPLORATION,
    NAMES,
    SEARCH,
    TOLD,
    WORDS,
    Explained,
    contributions,
    explain,
    reasons,
)
from recsys.ranking.fusion import Fusion
from recsys.signals.item_features import Beside
from recsys.signals.neighbours import Neighbours
from recsys.signals.signals import SIGNALS, SOURCES
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.user_profiles import Profiles

NUM_ITEMS = 7
ALL = Fusion(weights=dict.fromkeys(SIGNALS, 1.0))


def matrix(cells: Mapping[tuple[int, int], float]) -> sp.csr_array:
    dense = np.zeros((NUM_ITEMS, NUM_ITEMS), dtype=np.float32)
    for (row, column), value in cells.items():
        dense[row, column] = value
    return sp.csr_array(dense)


def beside(
    lasting: Mapping[tuple[int, int], float] | None = None,
    recent: Mapping[tuple[int, int], float] | None = None,
    texts: list[list[float]] | None = None,
) -> Beside:
    """The same weights between items as transitions and as a linear model."""
    neighbours = Neighbours(weights=(matrix(lasting or {}) + 1j * matrix(recent or {})).astype(np.complex64))
    return Beside(
        transitions=neighbours,
        linear=neighbours,
        text_vectors=np.array(texts or np.eye(NUM_ITEMS), dtype=np.float32),
        popularity=np.zeros((1, NUM_ITEMS), dtype=np.float32),
        returns=np.zeros(NUM_ITEMS, dtype=np.float32),
        recommendable=np.ones(NUM_ITEMS, dtype=bool),
        borrows=np.zeros(NUM_ITEMS, dtype=bool),
    )


def profiles(*users: Mapping[int, float]) -> Profiles:
    """Users whose shares are the same in both profiles; {} for an empty history."""
    taken = [(row, item, share) for row, user in enumerate(users) for item, share in user.items() if share]
    rows, items, values = np.array(taken, dtype=np.float64).reshape(-1, 3).T
    shares = SparseRows.of(rows.astype(np.int64), items.astype(np.int64), values, len(users))
    read = shares.lengths > 0
    no_search = np.zeros((len(users), 0), dtype=np.float32)
    return Profiles(newest=shares, whole=shares, repeats=shares, read=read, visiting=read, searches=no_search)


def test_a_search_is_named_where_it_adds_more_than_the_history() -> None:
    directions = np.eye(NUM_ITEMS, dtype=np.float32)
    user = profiles({0: 1.0})
    texts = [[0.0] * NUM_ITEMS for _ in range(NUM_ITEMS)]
    for item, near in ((0, (1.0, 0.0)), (1, (0.8, 0.6)), (2, (0.6, 0.8)), (3, (-1.0, 0.0)), (4, (0.0, -1.0))):
        texts[item][:2] = near
    searched = dataclasses.replace(user, searches=directions[[1]])
    by_text = lifts_of(*[{"text": 1.0}] * 3)
    facts = beside(texts=texts)
    assert explained(by_text, [1, 2, 4], searched, facts) == [("text", 0), ("text", SEARCH), ("ranker", -1)]
    stale = dataclasses.replace(user, searches=directions[[1]] * 0.1)
    assert explained(by_text, [1, 2, 4], stale, facts) == [("text", 0), ("text", 0), ("ranker", -1)]


def test_without_an_item_the_ranker_goes_by_what_was_told() -> None:
    nobody = profiles({})
    ranker = lifts_of({"retrieval": 1.0})
    told = dataclasses.replace(nobody, read=np.array([True]))
    assert explained(ranker, [1], told, beside()) == [("ranker", TOLD)]
    found = Explained(sources=np.array([[0, 3]], dtype=np.int8), because=np.array([[TOLD, SEARCH]]))
    titles = pa.array([f"T{item}" for item in range(NUM_ITEMS)])
    source, reason = reasons(found, titles, np.array([0, 0]), np.array([0, 1]))
    assert source.to_pylist() == ["ranker", "text"]
    assert reason.to_pylist() == ["in line with what you told us", "close to your query"]


def lifts_of(*signals: Mapping[str, float]) -> npt.NDArray[np.float32]:
    """[1, K, S] of one user's list."""
    return np.array([[[place.get(name, 0.0) for name in SIGNALS] for place in signals]], dtype=np.float32)


def explained(
    lifts: npt.NDArray[np.float32], items: list[int], history: Profiles, facts: Beside, fusion: Fusion = ALL
) -> list[tuple[str, int]]:
    """(source, item that is named) of each place of one user's list."""
    found = explain(lifts, np.array([items]), fusion.vector(SIGNALS)[None], history, facts)
    return [(NAMES[source], int(item)) for source, item in zip(found.sources[0], found.because[0], strict=True)]


@given(st.integers(0, 9999), st.integers(1, 4), st.integers(1, 6))
def test_contributions_are_weighted_distances_from_the_mean(seed: int, users: int, candidates: int) -> None:
    random = np.random.default_rng(seed)
    signals = random.normal(size=(users, candidates, len(SIGNALS))).astype(np.float32)
    valid = random.random((users, candidates)) < 0.7
    columns = random.integers(0, candidates, (users, 3))
    weights = random.random((users, 3, len(SIGNALS))).astype(np.float32)
    found = contributions(signals, valid, columns, weights)
    assert found.shape == (users, 3, len(SIGNALS))
    assert found.dtype == np.float32
    for user in range(users):
        mean = signals[user, valid[user]].mean(axis=0) if valid[user].any() else np.zeros(len(SIGNALS))
        for place, column in enumerate(columns[user]):
            expected = (signals[user, column] - mean) * weights[user, place]
            np.testing.assert_allclose(found[user, place], expected, atol=1e-5)


def test_what_is_the_same_for_all_lifts_nobody() -> None:
    """Not by the last bit of a sum either: else the reason would be one that holds for no item."""
    signals = np.full((1, 331, len(SIGNALS)), np.log(0.02), dtype=np.float32)
    lifts = contributions(
        signals, np.ones((1, 331), dtype=bool), np.array([[0, 330]]), np.ones((1, 2, len(SIGNALS)), "f4")
    )
    assert not lifts.any()


@given(st.lists(st.floats(-2, 2, width=32), min_size=len(SIGNALS), max_size=len(SIGNALS)))
def test_the_source_is_the_one_that_lifts_most(values: list[float]) -> None:
    sums = dict.fromkeys(SOURCES.values(), 0.0)
    for name, value in zip(SIGNALS, values, strict=True):
        sums[SOURCES[name]] += value
    everything = beside({(0, 1): 0.5}, {(0, 1): 0.5}, [[1.0, 0.0]] * NUM_ITEMS)
    lifts = np.array([[values]], dtype=np.float32)
    ((source, _),) = explained(lifts, [1], profiles({0: 1.0}), everything)
    if max(sums.values()) > 1e-6:
        assert sums[source] == pytest.approx(max(sums.values()), abs=1e-6)
    elif max(sums.values()) < 0:
        assert source == "ranker", "what nothing lifts above the others is in line with the history"


def test_a_transition_names_the_item_that_most_comes_from() -> None:
    history = profiles({0: 0.2, 2: 0.5, 3: 0.3})
    facts = beside({(0, 1): 0.9, (2, 1): 0.1, (3, 1): 0.5}, {(0, 4): 1.0, (5, 1): 1.0})
    lifts = lifts_of({"newest_lasting": 1.0}, {"whole_recent": 1.0, "text": 0.5}, {"whole_lasting": 1.0})
    found = explained(lifts, [1, 4, 6], history, facts)
    assert found == [("transitions", 0), ("transitions", 0), ("ranker", -1)], "nothing of the history leads to item 6"
    only_lasting = Fusion(weights={"retrieval": 1.0, "newest_lasting": 1.0})
    assert explained(lifts, [1, 4, 6], history, facts, only_lasting)[1] == ("ranker", -1)


def test_each_user_is_told_by_their_own_weights() -> None:
    """One goes by what lasts, one by what is of late, one without the ranker: as long and short histories do."""
    facts = beside({(0, 1): 0.9, (2, 1): 0.1}, {(0, 1): 0.1, (2, 1): 0.9})
    lasting, late, nothing = ({"newest_lasting": 1.0}, {"newest_recent": 1.0}, {"popularity": 1.0})
    weights = np.array([[some.get(name, 0.0) for name in SIGNALS] for some in (lasting, late, nothing)], np.float32)
    weights[:2, SIGNALS.index("retrieval")] = 1.0
    lifts = np.concatenate([lifts_of({"newest_lasting": 1.0}, {})] * 3)
    found = explain(lifts, np.array([[1, 6]] * 3), weights, profiles(*[{0: 0.5, 2: 0.5}] * 3), facts)
    assert found.because[:, 0].tolist() == [0, 2, -1]
    sources = [[NAMES[source] for source in row] for row in found.sources]
    assert sources == [["transitions", "ranker"], ["transitions", "ranker"], ["popularity", "popularity"]]


def test_the_linear_model_names_the_item_that_has_the_largest_share() -> None:
    history = profiles({0: 0.2, 2: 0.5, 3: 0.3})
    facts = beside({(0, 1): 0.9, (2, 1): 0.1, (3, 1): 0.5}, {(2, 1): 0.02, (0, 4): 1.0})
    lifts = lifts_of(*[{"linear_lasting": 1.0}] * 3)
    shares = ALL.weights | {"linear_recent": 0.1}
    assert explained(lifts, [1, 4, 6], history, facts, Fusion(weights=shares)) == [
        ("linear", 0),
        ("linear", 0),
        ("ranker", -1),
    ]
    of_late = ALL.weights | {"linear_lasting": 0.1}
    assert explained(lifts[:, :1], [1], history, facts, Fusion(weights=of_late)) == [("linear", 2)]


def test_a_text_names_the_nearest_other_item() -> None:
    texts = [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]
    history = profiles({0: 0.1, 2: 0.8, 5: 0.1})
    lifts = lifts_of(*[{"text": 1.0}] * 4)
    found = explained(lifts, [1, 5, 3, 0], history, beside(texts=texts))
    assert found == [("text", 2), ("text", 0), ("ranker", -1), ("text", 5)]


def test_a_new_item_is_there_for_its_text() -> None:
    """Nobody chose it, though its weights say so: they are those of items of alike text."""
    texts = [[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    facts = dataclasses.replace(beside({(0, 1): 0.9, (0, 2): 0.9}, texts=texts), borrows=np.arange(NUM_ITEMS) > 0)
    history = profiles({0: 1.0})
    lifts = lifts_of(*[{"linear_lasting": 1.0, "newest_lasting": 0.5, "popularity": 2.0}] * 2)
    assert explained(lifts, [1, 2], history, facts) == [("text", 0), ("ranker", -1)], "2 is unlike what was had"
    assert explained(lifts, [1, 2], profiles({}), facts) == [("exploration", -1)] * 2
    assert explained(lifts_of({"popularity": 1.0}), [0], profiles({}), facts) == [("popularity", -1)]


def test_of_whom_nothing_is_known_popularity_is_the_source() -> None:
    """Whether the item is popular for its list or not; and wherever the ranker has no say."""
    lifts = lifts_of({"popularity": 1.0}, {"popularity": -1.0}, {"popularity": 0.0})
    assert explained(lifts, [1, 2, 3], profiles({}), beside()) == [("popularity", -1)] * 3
    known = profiles({0: 1.0})
    sources = [source for source, _ in explained(lifts, [1, 2, 3], known, beside())]
    assert sources == ["popularity", "ranker", "ranker"]
    without = Fusion(weights={"popularity": 1.0, "text": 1.0})
    assert explained(lifts, [1, 2, 3], known, beside(), without) == [("popularity", -1)] * 3


@given(st.integers(0, 9999), st.sampled_from([1, 3, 500]), st.sampled_from([2, 50]))
def test_what_is_named_was_had_and_has_a_share(seed: int, pairs: int, named_from: int) -> None:
    random = np.random.default_rng(seed)
    shares = random.integers(0, 3, (3, NUM_ITEMS)) * (random.random((3, 1)) < 0.8) / 4
    history = profiles(*[dict(enumerate(row)) for row in shares.tolist()])
    texts = random.normal(size=(NUM_ITEMS, 2))
    facts = beside(
        *(dict.fromkeys(zip(*random.integers(0, NUM_ITEMS, (2, 9)).tolist(), strict=True), 0.5) for _ in "12")
    )
    facts = dataclasses.replace(facts, text_vectors=texts.astype(np.float32))
    items = random.permuted(np.tile(np.arange(NUM_ITEMS), (3, 1)), axis=1)[:, :4]
    items[random.random(items.shape) < 0.2] = -1
    lifts = random.normal(size=(3, 4, len(SIGNALS))).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PAIRS", pairs)
        patch.setattr(module, "_TEXT_PAIRS", pairs)
        patch.setattr(module, "_NAMED_FROM", named_from)
        found = explain(lifts, items, np.ones((len(items), len(SIGNALS)), np.float32), history, facts)
    for user, place in zip(*np.nonzero(items >= 0), strict=True):
        item, source, because = items[user, place], NAMES[found.sources[user, place]], found.because[user, place]
        assert (because >= 0) == (source in ("transitions", "linear", "text"))
        if because < 0:
            continue
        weightiest = np.sort(shares[user])[::-1][:named_from]
        assert shares[user, because] > 0
        assert shares[user, because] >= weightiest[-1], "one of the weightiest"
        steps = (facts.transitions.weights.real + facts.transitions.weights.imag).toarray()
        if source == "transitions":
            had = np.flatnonzero((shares[user] > 0) & (shares[user] >= (weightiest[-1] or 1e-9)))
            assert steps[because, item] > 0
            if named_from > NUM_ITEMS:
                assert shares[user, because] * steps[because, item] == max(shares[user, had] * steps[had, item])
        elif source == "linear":
            assert steps[because, item] > 0
        else:
            assert because != item
            assert texts[because] @ texts[item] > 0
    assert (found.because[items < 0] == -1).all()


def test_reasons_in_words() -> None:
    titles = pa.array(["Oak {Desk}", "", "Vase", "Lamp", "Pen", "Cup", "Jar"])
    sources = np.array([[NAMES.index(name) for name in NAMES]], dtype=np.int8)
    because = np.full(sources.shape, -1, dtype=np.int64)
    for name, item in {"transitions": 0, "linear": 3, "text": 2}.items():
        because[0, NAMES.index(name)] = item
    users, places = np.zeros(len(NAMES), np.int64), np.arange(len(NAMES))
    source, reason = reasons(Explained(sources=sources, because=because), titles, users, places)
    assert source.to_pylist() == list(NAMES)
    assert dict(zip(source.to_pylist(), reason.to_pylist(), strict=True)) == WORDS | {
        "transitions": "often chosen with Oak {Desk}",
        "linear": "chosen by people who chose Lamp",
        "text": "similar to Vase",
    }
    assert (source.type, reason.type) == (pa.string(), pa.string())
    nothing = reasons(Explained(sources=sources, because=because), titles, users[:0], places[:0])
    assert [column.to_pylist() for column in nothing] == [[], []]


def test_every_source_has_words() -> None:
    assert set(NAMES) == {*SOURCES.values(), EXPLORATION}
    assert {name for name, words in WORDS.items() if "{}" in words} == {"transitions", "linear", "text"}
