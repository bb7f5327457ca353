"""Candidates and their signals equal those found one pair at a time, and hang on nobody else in the batch.

Profiles and weights are small multiples of powers of two, so that sums are exact and many are equal.

Shapes: B users, C candidates, I items, G moments, S signals.
"""

import math
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.config import SignalName
from recsys.signals.candidates import FOLLOWING, Barred, Candidates, find_candidates
from recsys.signals.item_features import Beside
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import HORIZONS
from recsys.signals.signals import SIGNALS, SOURCES, measure_signals
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.user_profiles import Profiles

NUM_ITEMS, DIM, TEXT_DIM, MOMENTS = 12, 4, 3, 2


def dense(rows: SparseRows) -> npt.NDArray[np.float32]:
    """[B, I]."""
    values, items, starts = rows.values, rows.items, rows.starts
    return np.asarray(sp.csr_array((values, items, starts), shape=(len(starts) - 1, NUM_ITEMS)).toarray())


@dataclass(frozen=True)
class Case:
    """B users before I items, drawn at random; some users have no history."""

    beside: Beside
    profiles: Profiles
    users: torch.Tensor
    vectors: torch.Tensor
    retrieved: npt.NDArray[np.int64]
    excluded: npt.NDArray[np.bool_]
    moment: npt.NDArray[np.int64]

    def rows(self, start: int, stop: int) -> "Case":
        part = slice(start, stop)
        return Case(
            self.beside,
            self.profiles.rows(np.arange(start, stop)),
            self.users[part],
            self.vectors,
            self.retrieved[part],
            self.excluded[part],
            self.moment[part],
        )

    def barred(self) -> Barred:
        return Barred.of([np.nonzero(self.excluded)], len(self.excluded))

    def candidates(self) -> Candidates:
        return find_candidates(self.retrieved, self.profiles, self.beside, self.moment, self.barred())

    def signals(self, candidates: Candidates, isolated: Any = None) -> Any:
        log_probability = (self.users @ self.vectors.T).log_softmax(dim=1).numpy()
        return measure_signals(
            candidates,
            np.take_along_axis(log_probability, np.maximum(candidates.items, 0), axis=1),
            isolated,
            self.profiles,
            self.beside,
            self.moment,
        )

    def following(self, name: str) -> npt.NDArray[np.float32]:
        """[B, I] of one of `FOLLOWING`, by its definition."""
        row, weights, _ = multiplied(self, name)
        return np.asarray(row @ weights.toarray(), dtype=np.float32)


def draw_case(seed: int, num_users: int, num_retrieved: int) -> Case:
    random = np.random.default_rng(seed)

    shape = (num_users, NUM_ITEMS)
    taken = (random.random(shape) < 0.4) & (random.random((num_users, 1)) >= 0.2)

    def sparse(there: npt.NDArray[np.bool_]) -> SparseRows:
        users, items = np.nonzero(there)
        return SparseRows.of(users, items, random.integers(1, 4, len(users)) / 4, num_users)

    def neighbours() -> Neighbours:
        shape = (2, NUM_ITEMS, NUM_ITEMS)
        lasting, recent = np.triu(random.integers(0, 4, shape) / 4, 1) * (random.random(shape) < 0.4)
        return Neighbours(weights=sp.csr_array((lasting + 1j * recent).astype(np.complex64)))

    newest = sparse(taken)
    searches = random.normal(size=(num_users, TEXT_DIM)) * (random.random((num_users, 1)) < 0.4)
    profiles = Profiles(
        newest=newest,
        whole=sparse(taken),
        repeats=sparse(random.random(shape) < 0.3 * (random.random() < 0.7)),
        read=newest.lengths > 0,
        visiting=newest.lengths > 0,
        searches=searches.astype(np.float32) if random.random() < 0.7 else np.zeros((num_users, 0), np.float32),
    )
    texts = random.normal(size=(NUM_ITEMS, TEXT_DIM))
    beside = Beside(
        transitions=neighbours(),
        linear=neighbours(),
        text_vectors=(texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32),
        popularity=np.log1p(random.integers(0, 4, (MOMENTS, len(HORIZONS), NUM_ITEMS))).astype(np.float32),
        returns=random.normal(size=NUM_ITEMS).astype(np.float32),
        recommendable=random.random(NUM_ITEMS) < 0.8,
        borrows=random.random(NUM_ITEMS) < 0.3 * (random.random() < 0.5),
    )
    retrieved = random.permuted(np.tile(np.arange(NUM_ITEMS), (num_users, 1)), axis=1)[:, :num_retrieved]
    retrieved[random.random(retrieved.shape) < 0.1] = -1
    return Case(
        beside,
        profiles,
        torch.from_numpy(random.normal(size=(num_users, DIM)).astype(np.float32)),
        torch.from_numpy(random.normal(size=(NUM_ITEMS, DIM)).astype(np.float32)),
        retrieved,
        random.random((num_users, NUM_ITEMS)) < 0.2,
        random.integers(0, MOMENTS, num_users),
    )


cases = st.builds(draw_case, st.integers(0, 9999), st.integers(1, 5), st.integers(1, 8))


def best(scores: npt.NDArray[np.floating[Any]], num: int) -> set[int]:
    """Items of the largest positive scores, equals by index."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))
    return {item for item in order[:num] if scores[item] > 0}


@given(cases)
def test_candidates_are_the_union_of_what_may_be_recommended(case: Case) -> None:
    found = case.candidates()
    follow = {name: case.following(name) for name in FOLLOWING}
    repeats = dense(case.profiles.repeats)
    num = max(case.retrieved.shape[1] // 2, 1)
    few = max(num // 2, 1)
    new = case.beside.borrows & case.beside.recommendable
    lengths = []
    for user, row in enumerate(found.items):
        popularity = np.where(case.beside.recommendable, case.beside.popularity[case.moment[user], 0], 0)
        expected = {int(item) for item in case.retrieved[user] if item >= 0}
        expected |= best(follow["newest_lasting"][user] + follow["whole_recent"][user], num) | best(popularity, 2 * num)
        expected |= best(follow["linear_lasting"][user], few) | best(follow["linear_recent"][user], few)
        expected |= best(np.where(new, follow["whole_lasting"][user] + follow["linear_recent"][user], 0), few)
        expected |= best(repeats[user], num)
        if case.profiles.searched[user]:
            near = (case.profiles.searches @ case.beside.text_vectors.T)[user]
            expected |= best(np.where(case.beside.recommendable, near, 0), num)
        allowed = case.beside.recommendable & ~case.excluded[user]
        own = [int(item) for item in row if item >= 0]
        assert own == sorted(item for item in expected if allowed[item]), "ascending, none twice, none that is barred"
        assert (row[: len(row) - len(own)] == -1).all()
        lengths.append(len(own))
        there = row >= 0
        for place, name in enumerate(FOLLOWING):
            np.testing.assert_array_equal(found.following[user, there, place], follow[name][user, own])
        np.testing.assert_array_equal(found.had[user, there], repeats[user, own])
    assert found.items.shape[1] == max(1, *lengths), "no wider than the longest"


def multiplied(case: Case, name: str) -> tuple[Any, Any, float]:
    """Profile and weights whose product a signal is, and what it is where there is nothing."""
    newest, whole = dense(case.profiles.newest), dense(case.profiles.whole)
    transitions, linear = case.beside.transitions, case.beside.linear
    return {
        "newest_lasting": (newest, transitions.weights.real, 3e-5),
        "newest_recent": (newest, transitions.weights.imag, 3e-5),
        "whole_lasting": (whole, transitions.weights.real, 3e-5),
        "whole_recent": (whole, transitions.weights.imag, 3e-5),
        "linear_lasting": (newest, linear.weights.real, 1e-4),
        "linear_recent": (whole, linear.weights.imag, 1e-4),
    }[name]


def naive_signal(case: Case, name: str, user: int, item: int, isolated: float | None) -> float:
    """One signal of one user for one item, by its definition."""
    profiles = case.profiles
    known = bool(profiles.newest.lengths[user])
    whole = dense(profiles.whole)[user]
    if name == "retrieval":
        logits = [float(case.users[user] @ vector) for vector in case.vectors]
        return logits[item] - math.log(sum(map(math.exp, logits))) if known else 0.0
    if name == "isolated":
        return isolated if known and isolated is not None else 0.0
    if name == "text":
        mean = sum(
            (whole[other] * case.beside.text_vectors[other] for other in range(NUM_ITEMS)),
            start=np.zeros(TEXT_DIM),
        )
        if profiles.searched[user]:
            mean = mean / max(float(np.linalg.norm(mean)), 1e-9) + profiles.searches[user]
        length = float(np.linalg.norm(mean))
        return float(mean @ case.beside.text_vectors[item]) / length if length else 0.0
    if name in HORIZONS:
        return float(case.beside.popularity[case.moment[user], list(HORIZONS).index(name), item])
    had = float(dense(profiles.repeats)[user, item])
    if name == "repeat":
        return math.log(0.02 + had)
    if name == "seen":
        return float(had > 0)
    if name == "returns":
        return float(case.beside.returns[item]) if had > 0 else 0.0
    row, weights, unseen = multiplied(case, name)
    return math.log(unseen + sum(float(row[user, other]) * float(weights[other, item]) for other in range(NUM_ITEMS)))


@given(cases, st.booleans())
def test_signals_equal_those_of_each_pair_by_itself(case: Case, with_isolated: bool) -> None:
    candidates = case.candidates()
    items = candidates.items
    isolated = np.linspace(-1, 1, items.size, dtype=np.float32).reshape(items.shape)
    signals = case.signals(candidates, isolated if with_isolated else None)
    assert signals.shape == (*items.shape, len(SIGNALS))
    assert signals.dtype == np.float32
    assert np.isfinite(signals).all(), "also of what is no candidate"
    for user, place in zip(*np.nonzero(items >= 0), strict=True):
        own = float(isolated[user, place]) if with_isolated else None
        expected = [naive_signal(case, name, user, items[user, place], own) for name in SIGNALS]
        assert signals[user, place].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(cases, st.data())
def test_nobody_elses_history_matters(case: Case, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(case.users) - 1))
    stop = data.draw(st.integers(start + 1, len(case.users)))
    whole, part = case.candidates(), case.rows(start, stop).candidates()
    of_whole, of_part = case.signals(whole), case.rows(start, stop).signals(part)
    for user in range(start, stop):
        own, alone = whole.items[user] >= 0, part.items[user - start] >= 0
        np.testing.assert_array_equal(whole.items[user][own], part.items[user - start][alone])
        np.testing.assert_allclose(of_whole[user][own], of_part[user - start][alone], atol=1e-5)


def test_every_signal_has_a_source_and_may_be_named_in_the_config() -> None:
    assert tuple(SOURCES) == SIGNALS == get_args(SignalName)


def test_without_anything_to_recommend_there_are_holes() -> None:
    case = draw_case(0, 3, 4)
    case.excluded[:] = True
    assert case.candidates().items.tolist() == [[-1]] * 3
