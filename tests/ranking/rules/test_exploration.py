"""Draws depend on the seed, the night and the user alone, are fair, and take only what may be drawn."""

import datetime as dt
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.ranking.order import Bools, Ints
from recsys.ranking.rules.exploration import draw, num_places
from recsys.ranking.rules.user_draws import user_keys
from recsys.settings import Config, decode_config

DATE = dt.date(2026, 11, 22)
INPUTS: dict[str, Any] = {"events": {"path": "events"}, "items": {"path": "items.parquet", "text": "{title}"}}


def config(share: float, top_k: int) -> Config:
    lists = {"top_k": top_k, "candidates": top_k}
    return decode_config({"inputs": INPUTS, "rerank": {"exploration": share}, "recommend": lists})


def users(num: int) -> pa.Array:
    return pa.array([f"u{number}" for number in range(num)])


def problem(seed: int, num_users: int = 5, num_candidates: int = 12) -> tuple[Ints, Bools]:
    random = np.random.default_rng(seed)
    items = random.permuted(np.tile(np.arange(40), (num_users, 1)), axis=1)[:, :num_candidates]
    return items, random.random(items.shape) < random.random((num_users, 1))


@given(st.integers(0, 999), st.integers(0, 14))
def test_only_what_may_be_drawn_is_drawn_and_nothing_twice(seed: int, num: int) -> None:
    items, may_be_drawn = problem(seed)
    drawn = draw(items, may_be_drawn, user_keys("draw", users(5), seed, DATE), num)
    assert drawn.shape == (5, min(num, 12))
    for user, row in enumerate(drawn):
        columns = row[row >= 0].tolist()
        assert len(columns) == min(num, may_be_drawn[user].sum())
        assert columns == sorted(set(columns))
        assert may_be_drawn[user, columns].all()
        assert (row[len(columns) :] == -1).all()


@given(st.integers(0, 999), st.integers(1, 6))
def test_neither_the_order_nor_other_users_change_a_draw(seed: int, num: int) -> None:
    items, may_be_drawn = problem(seed)
    keys = user_keys("draw", users(5), seed, DATE)
    columns = draw(items, may_be_drawn, keys, num)
    random = np.random.default_rng(seed)
    for user in range(5):
        row = columns[user]
        order = random.permutation(items.shape[1])
        alone = draw(items[user, order][None], may_be_drawn[user, order][None], keys[user : user + 1], num)[0]
        expected = set(items[user, row[row >= 0]])
        assert set(items[user, order][alone[alone >= 0]]) == expected


def test_all_items_are_equally_likely() -> None:
    num_users, num_items, num = 20_000, 10, 3
    items = np.tile(np.arange(num_items), (num_users, 1))
    may_be_drawn = items != 4
    drawn = draw(items, may_be_drawn, user_keys("draw", users(num_users), 1, DATE), num)
    often = np.bincount(drawn.ravel(), minlength=num_items)
    expected = num_users * num / (num_items - 1)
    assert often[4] == 0
    assert np.abs(np.delete(often, 4) - expected).max() < 5 * np.sqrt(expected)
    pairs = np.zeros((num_items, num_items))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        np.add.at(pairs, (drawn[:, first], drawn[:, second]), 1)
    possible = pairs[np.triu_indices(num_items, 1)]
    possible = possible[possible > 0]
    assert len(possible) == 36, "every pair meets"
    assert np.abs(possible - num_users * 3 / 36).max() < 5 * np.sqrt(num_users * 3 / 36)


@pytest.mark.parametrize("other", [(8, DATE), (7, DATE + dt.timedelta(days=1))])
def test_another_seed_or_night_draws_other_items(other: tuple[int, dt.date]) -> None:
    items = np.tile(np.arange(50), (200, 1))
    may_be_drawn = np.ones(items.shape, dtype=bool)
    first, second = (draw(items, may_be_drawn, user_keys("draw", users(200), *key), 5) for key in ((7, DATE), other))
    common = np.mean([len(set(a) & set(b)) for a, b in zip(first, second, strict=True)])
    assert common < 1.0, "5 of 50 share half an item by chance"


def test_users_draw_different_items() -> None:
    items = np.tile(np.arange(50), (200, 1))
    drawn = draw(items, np.ones(items.shape, dtype=bool), user_keys("draw", users(200), 7, DATE), 5)
    assert len({tuple(row) for row in drawn}) > 195


def test_keys_are_the_same_in_every_process() -> None:
    code = (
        "import datetime as dt, pyarrow as pa; from recsys.ranking.rules.exploration import user_keys; "
        "print(user_keys('draw', pa.array(['a', 'ü']), 3, dt.date(2026, 11, 22)).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(user_keys("draw", pa.chunked_array([["a"], ["ü"]]), 3, DATE).tolist())


@pytest.mark.parametrize(
    ("share", "top_k", "places"),
    [(0.0, 20, 0), (0.1, 20, 2), (0.29, 100, 29), (0.3, 10, 3), (0.19, 10, 1), (0.5, 3, 1)],
)
def test_a_share_of_a_list_is_rounded_down(share: float, top_k: int, places: int) -> None:
    assert num_places(share, top_k) == places


@pytest.mark.parametrize(
    ("share", "top_k", "hint"), [(0.05, 10, "at least 0.1"), (0.3, 3, "at least 0.334"), (0.5, 1, "lists of 2 or more")]
)
def test_a_share_that_gives_no_place_is_refused(share: float, top_k: int, hint: str) -> None:
    with pytest.raises(ConfigError, match=rf"^rerank.exploration={share:g} gives no place .*ask for {hint}, or for 0$"):
        config(share, top_k)


@given(st.integers(1, 10_000))
def test_the_share_that_the_refusal_asks_for_is_enough(top_k: int) -> None:
    share = -(-1000 // top_k) / 1000
    if top_k > 1:
        assert num_places(config(share, top_k).rerank.exploration, top_k) >= 1
    assert config(0.0, top_k).rerank.exploration == 0
