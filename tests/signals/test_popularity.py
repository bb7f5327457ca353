"""Popularity on any day: the rates of the days before it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys.schema import DAY_COUNTS
from recsys.signals.popularity import AVERAGE_WEEK, HORIZONS, Popularity, log_popularity

NUM_ITEMS, FIRST = 4, 20_000


@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, NUM_ITEMS - 1), st.floats(0.01, 9)), max_size=60),
    st.lists(st.integers(0, 130), min_size=1, max_size=5, unique=True).map(sorted),
    st.sampled_from([0, 3, 400]),
)
def test_popularity_is_the_rate_of_the_days_before_a_moment(
    rows: list[tuple[int, int, float]], moments: list[int], earlier: int
) -> None:
    """Nothing of the day itself or later counts; a past that is shorter than a horizon is divided by its own length."""
    day, item = (np.array([row[place] for row in sorted(rows)], dtype=np.int64) for place in range(2))
    weight = np.array([row[2] for row in sorted(rows)], dtype=np.float64)
    before = np.array([7.0, 0, 50, 1]) * bool(earlier)
    found = log_popularity(day + FIRST, item, weight, before, np.array(moments) + FIRST, FIRST - earlier)
    assert (found.dtype, found.shape) == (np.float32, (len(moments), len(HORIZONS), NUM_ITEMS))
    for row, moment in zip(found, moments, strict=True):
        known = max(moment + earlier, 7)
        rates = []
        for length in HORIZONS.values():
            reach = known if length is None else min(length, known)
            there = (day < moment) & ((day >= moment - reach) | (length is None))
            counts = np.bincount(item[there], weight[there], minlength=NUM_ITEMS) + (length is None) * before
            rates.append(counts * 7 / reach)
        rates[0] = rates[0] + AVERAGE_WEEK * rates[-1]
        np.testing.assert_allclose(row, np.log1p(rates), rtol=1e-5, atol=1e-6)


def test_a_later_day_changes_nothing() -> None:
    """Not even by its weights: the view of validation must not know them."""

    def popularity(later_weight: float) -> npt.NDArray[np.float32]:
        rows = {"day": [FIRST, FIRST, FIRST + 9], "item": [0, 1, 0], "num": [1, 1, 5], "weight": [1, 3, later_weight]}
        source: Any = SimpleNamespace(
            counted=lambda: pa.table(rows).cast(DAY_COUNTS),
            item_ids=pa.array(["a", "b"]),
            days=np.array([FIRST + 9]),
            oldest_day=FIRST,
            recommendable=np.ones(2, dtype=bool),
        )
        return Popularity().load(source).popularity

    np.testing.assert_array_equal(popularity(1.0), popularity(900.0))
