"""How likely people come back for an item: counted by the definition, over shards, and for items of few users."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.schema import ITEM_RETURNS
from recsys.signals.repeat import PRIOR_USERS, Repeat, count_returns, log_returns
from recsys.signals.signal import Counting
from tests.signals.world import Shards

NUM_ITEMS = 4
COUNTING = Counting(num_items=NUM_ITEMS, settings=None, first_day=0)
EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, NUM_ITEMS - 1), st.sampled_from([0.0, 0.5, 3.0])))


def columns(events: list[tuple[int, int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    users, items, moments = np.array(events, dtype=np.float64).reshape(-1, 3).T
    return users.astype(np.int64), items.astype(np.int64), moments


@given(EVENTS)
def test_a_user_who_took_an_item_at_several_times_came_back_for_it(events: list[tuple[int, int, float]]) -> None:
    times = Counter((user, item) for user, item, _ in set(events))
    counted = count_returns(*columns(events), NUM_ITEMS)
    assert counted.schema == ITEM_RETURNS
    assert counted["users"].to_pylist() == [sum(item == of for _, of in times) for item in range(NUM_ITEMS)]
    assert counted["again"].to_pylist() == [
        sum(item == of and number > 1 for (_, of), number in times.items()) for item in range(NUM_ITEMS)
    ]
    shards = [[event for event in events if event[0] % 2 == part] for part in range(2)]
    assert list(Repeat().merge(Shards([count_returns(*columns(part), NUM_ITEMS) for part in shards]), COUNTING)) == [
        counted
    ]


def test_the_probability_is_the_average_until_many_users_took_the_item() -> None:
    events = [(user, 0, moment) for user in range(1000) for moment in (0.0, 1.0)]
    events += [(user, 1, 0.0) for user in range(1000)] + [(0, 2, 0.0), (0, 2, 1.0)]
    often, never, once, nobody = log_returns(count_returns(*columns(events), NUM_ITEMS))
    average = 1001 / 2001
    assert often == pytest.approx(math.log((1000 + PRIOR_USERS * average) / (1000 + PRIOR_USERS) / average), abs=1e-5)
    assert never < -4
    assert 0 < once < 0.1
    assert nobody == 0


@pytest.mark.parametrize("events", [[], [(0, 1, 0.0), (1, 1, 0.0)]], ids=["no events", "nobody comes back"])
def test_where_nobody_comes_back_no_item_is_likelier(events: list[tuple[int, int, float]]) -> None:
    assert log_returns(count_returns(*columns(events), NUM_ITEMS)).tolist() == [0, 0, 0, 0]
