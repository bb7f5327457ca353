"""The numbers and proposals of each signal equal those found one pair at a time, by their definitions."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.signals.registry import SIGNALS
from recsys.signals.text_ease import L2
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


def text_numbers(world: World) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """[B, I] EASE with the texts in place of the users, by an item-to-item matrix; and cosines with the searches.

    A search is one more item, of which the model learned nothing.
    """
    profiles, has_text = world.users.profiles, world.texts.any(axis=1)
    searches = profiles.searches if profiles.searches.shape[1] else np.zeros((len(world.users), TEXT_DIM))
    fresh = np.linalg.norm(searches, axis=1)

    def directions(texts: npt.NDArray[Any], there: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        centred = np.where(there[:, None], texts - world.texts[has_text].mean(axis=0), 0.0)
        return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9))

    items = directions(world.texts, has_text)
    inverse = np.linalg.inv(items @ items.T + L2 * np.eye(NUM_ITEMS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    asked = directions(searches / np.maximum(fresh, 1e-9)[:, None], fresh > 0) * fresh[:, None]
    leverage = 1 - L2 * np.diag(inverse)
    by_search = asked @ np.linalg.inv(items.T @ items + L2 * np.eye(TEXT_DIM)) @ items.T / (1 - leverage)
    usual = (leverage / (1 - leverage))[has_text].mean()
    return (dense(profiles.last) @ weights + by_search) / usual, searches @ world.texts.T


def numbers_by_hand(world: World, name: str, user: int, item: int) -> list[float]:
    if name in ("transitions", "ease"):
        unseen, found = {"transitions": 3e-5, "ease": 1e-4}[name], sums(world, name)
        columns = found if name == "transitions" else ("last_all_time", "history_decayed")
        return [math.log(unseen + float(found[column][user, item])) for column in columns]
    if name == "text":
        return [float(numbers[user, item]) for numbers in text_numbers(world)]
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
    profiles, excluded = world.users.profiles, world.users.excluded
    similar, near = text_numbers(world)
    for user in range(len(world.users)):
        left_out = [*excluded.items[excluded.users == user], *np.flatnonzero(dense(profiles.last)[user])]
        allowed = world.recommendable & ~np.isin(EVERYTHING, left_out)
        day = DAYS.tolist().index(int(world.users.now[user] // MICROS_PER_DAY))
        popularity = world.signals["popularity"].popularity[day, 0]  # type: ignore[attr-defined]
        expected = {
            "transitions": best(follow["last_all_time"][user] + follow["history_decayed"][user], half),
            "ease": best(ease["last_all_time"][user], quarter) | best(ease["history_decayed"][user], quarter),
            "popularity": best(np.where(world.recommendable, popularity, 0), 2 * half),
            "repeat": best(dense(profiles.repeats)[user], half),
            "text": best(np.where(allowed, similar[user], 0), half)
            | best(np.where(world.recommendable, near[user], 0), half),
        }
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
