"""The numbers and proposals of each signal equal those found one pair at a time, by their definitions."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.signals.registry import SIGNALS
from tests.signals.world import DAYS, MICROS_PER_DAY, NUM_ITEMS, TEXT_DIM, World, dense, draw_world, matrices

worlds = st.builds(draw_world, st.integers(0, 9999), st.integers(1, 5))
EVERYTHING = np.arange(NUM_ITEMS)


def best(scores: npt.NDArray[np.floating[Any]], num: int) -> set[int]:
    """Items of the largest positive scores, equal scores by index."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))
    return {item for item in order[:num] if scores[item] > 0}


def sums(world: World, name: str) -> dict[str, npt.NDArray[np.float32]]:
    """[B, I] of the four sums over the weights of `transitions` or `ease`."""
    all_time, decayed = matrices(world.signals[name].neighbours)  # type: ignore[attr-defined]
    last, history = dense(world.users.profiles.last), dense(world.users.profiles.history)
    return {
        "last_all_time": last @ all_time,
        "last_decayed": last @ decayed,
        "history_all_time": history @ all_time,
        "history_decayed": history @ decayed,
    }


def text_number(world: World, user: int, item: int) -> float:
    vectors = world.signals["text"].vectors  # type: ignore[attr-defined]
    profiles = world.users.profiles
    mean = dense(profiles.history)[user] @ vectors if profiles.lengths[user] else np.zeros(TEXT_DIM)
    if profiles.searched[user]:
        mean = mean / max(float(np.linalg.norm(mean)), 1e-9) + profiles.searches[user]
    length = float(np.linalg.norm(mean))
    return float(mean @ vectors[item]) / length if length else 0.0


def numbers_by_hand(world: World, name: str, user: int, item: int) -> list[float]:
    if name in ("transitions", "ease"):
        unseen, found = {"transitions": 3e-5, "ease": 1e-4}[name], sums(world, name)
        columns = found if name == "transitions" else ("last_all_time", "history_decayed")
        return [math.log(unseen + float(found[column][user, item])) for column in columns]
    if name == "text":
        return [text_number(world, user, item)]
    if name == "popularity":
        day = DAYS.tolist().index(int(world.users.now[user] // MICROS_PER_DAY))
        return [float(number) for number in world.signals[name].popularity[day, :, item]]  # type: ignore[attr-defined]
    times = float(dense(world.users.profiles.repeats)[user, item])
    returns = float(world.signals["repeat"].returns[item])  # type: ignore[attr-defined]
    return [math.log(0.02 + times), float(times > 0), returns if times > 0 else 0.0]


@pytest.mark.parametrize("name", ["transitions", "ease", "text", "popularity", "repeat"])
@given(world=worlds)
def test_numbers_equal_their_definitions(name: str, world: World) -> None:
    items = np.tile(EVERYTHING, (len(world.users), 1))
    found = world.signals[name].read(world.users).measure(items)
    assert found.shape == (*items.shape, len(SIGNALS[name].columns))
    for user in range(len(world.users)):
        for item in EVERYTHING.tolist():
            expected = numbers_by_hand(world, name, user, item)
            assert found[user, item].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(worlds, st.integers(1, 9))
def test_proposals_are_the_best_items(world: World, num: int) -> None:
    half, quarter = max(num // 2, 1), max(max(num // 2, 1) // 2, 1)
    follow, ease = sums(world, "transitions"), sums(world, "ease")
    profiles = world.users.profiles
    for user in range(len(world.users)):
        day = DAYS.tolist().index(int(world.users.now[user] // MICROS_PER_DAY))
        popularity = world.signals["popularity"].popularity[day, 0]  # type: ignore[attr-defined]
        expected = {
            "transitions": best(follow["last_all_time"][user] + follow["history_decayed"][user], half),
            "ease": best(ease["last_all_time"][user], quarter) | best(ease["history_decayed"][user], quarter),
            "popularity": best(np.where(world.recommendable, popularity, 0), 2 * half),
            "repeat": best(dense(profiles.repeats)[user], half),
            "text": set[int](),
        }
        if profiles.searched[user]:
            near = profiles.searches[user] @ world.signals["text"].vectors.T  # type: ignore[attr-defined]
            expected["text"] = best(np.where(world.recommendable, near, 0), half)
        for name, loaded in world.signals.items():
            proposed = loaded.read(world.users).propose(num)
            own = set() if proposed is None else {int(item) for item in proposed[user] if item >= 0}
            assert own == expected[name], name


@given(worlds)
def test_cold_items_are_chosen_by_the_whole_history(world: World) -> None:
    cold = np.array([1, 5, 7], dtype=np.int32)
    for name, column in (("transitions", "history_all_time"), ("ease", "history_decayed")):
        scores = world.signals[name].read(world.users).cold_scores(cold)
        assert scores is not None
        np.testing.assert_allclose(scores, sums(world, name)[column][:, cold], rtol=1e-6)
