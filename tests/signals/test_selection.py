"""The largest of many numbers are those of a sort, equals by their place."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.signals.selection import largest

floats = st.one_of(
    st.floats(width=32, allow_nan=False), st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf])
)  # many are equal
rows = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=floats)


@given(rows, st.integers(1, 45))
def test_equals_a_stable_sort(values: npt.NDArray[np.float32], num: int) -> None:
    found = largest(values, num)
    assert found.dtype == np.int64
    for row, columns in zip(values, found.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda column: (-row[column], column))
        assert columns == sorted(order[:num])


@pytest.mark.parametrize("num", [1, 100, 2_999])
def test_of_many_numbers_of_all_sizes(num: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, 3_000)) * np.logspace(-30, 30, 3_000)
    values = values.astype(np.float32)
    np.testing.assert_array_equal(largest(values, num), np.sort(np.argsort(-values, axis=1)[:, :num], axis=1))


def test_of_a_part_of_a_larger_matrix() -> None:
    """Whose rows do not follow each other in memory."""
    part = np.random.default_rng(0).normal(size=(4, 60)).astype(np.float32)[::2, 5:50]
    np.testing.assert_array_equal(largest(part, 7), np.sort(np.argsort(-part, axis=1)[:, :7], axis=1))
