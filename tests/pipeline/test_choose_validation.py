"""Validation users look like those for whom lists are made, and there are as many as training can do without."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.histories import sort_interactions
from recsys.pipeline.inputs import choose_validation as module
from recsys.pipeline.run import LENGTH_BOUNDS, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.schema import INTERACTIONS
from tests.pipeline.conftest import DATE, HOLDOUT_DAYS, IDS

DAY = dt.timedelta(days=1)
CUTOFF = dt.datetime.combine(DATE + (1 - HOLDOUT_DAYS) * DAY, dt.time(), tzinfo=dt.UTC)

MakeRun = Callable[..., Run]
#: Name, events and days from the last of them to the cutoff, of users with an event a day.
User = tuple[str, int, int]


def a_shop(*users: User) -> pa.Table:
    rows = [
        {
            "user_id": name,
            "item_id": IDS[(event + age) % len(IDS)],
            "timestamp": CUTOFF - (age + event) * DAY - dt.timedelta(hours=1),
            "event": "view",
            "weight": 1.0,
        }
        for name, num, age in users
        for event in range(num)
    ]
    return sort_interactions(pa.Table.from_pylist(rows, INTERACTIONS))[0]


def held_out(run: Run, events: pa.Table) -> set[str]:
    return set(run.validation_split(events).holdout["user_id"].to_pylist())


@pytest.mark.parametrize(("wanted", "days"), [(10, 7), (80, 14), (1000, 7 * 2**10)])
def test_the_shortest_period_with_enough_users_is_taken(make_night: MakeRun, wanted: int, days: int) -> None:
    """All users where there are fewer than are wanted; those with one event cannot be validated."""
    events = a_shop(*[(f"u{number}", 3, number % 28) for number in range(200)], *[(f"one{n}", 1, 0) for n in range(5)])
    run = make_night(events, validation_users=wanted)
    chosen = run.record(SHUFFLE_HISTORIES).validation
    assert chosen.days == days
    found = held_out(run, events)
    assert found <= {f"u{number}" for number in range(200) if number % 28 < days}
    if wanted == 1000:
        assert len(found) == 200
    else:
        assert wanted / 2 < len(found) < wanted * 1.5


def test_the_heavy_users_of_the_last_days_do_not_stand_for_all(make_night: MakeRun) -> None:
    light = [(f"light{number}", 3, 12 + number % 40) for number in range(400)]
    heavy = [(f"heavy{number}", 30, number % 5) for number in range(100)]
    events = a_shop(*light, *heavy)
    run = make_night(events, validation_users=100)
    assert run.record(SHUFFLE_HISTORIES).validation.days == 28, "the last 7 days hold 100 users, but they are heavy"
    found = held_out(run, events)
    assert 70 < len(found) < 130
    assert 0.1 < len([user for user in found if user.startswith("heavy")]) / len(found) < 0.3


def test_without_a_number_a_third_of_the_users_are_drawn() -> None:
    few, many, most = (module._wanted(None, num) for num in (700, 6_000, 900_000))
    assert (few, many, most) == (500, 2_000, 6_000)
    assert module._wanted(12, 900_000) == 12


def test_users_are_counted_by_what_a_list_is_made_of(make_night: MakeRun) -> None:
    events = a_shop(("a", 1, 0), ("b", 2, 0), ("c", 8, 10), ("d", 60, 0))
    run = make_night(events)
    assert module.count_users(events) == [1, 1, 0, 1, 0, 1]
    active = np.array(module.count_active_users(run, events))
    assert active.shape == (len(module.PERIODS_DAYS), len(LENGTH_BOUNDS) + 1)
    assert active[0].tolist() == [1, 0, 0, 0, 0, 1], "b by the one event before the last, a has none"
    assert active[1].tolist() == [1, 0, 0, 1, 0, 1]
