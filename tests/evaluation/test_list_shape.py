"""Scores are counted in bins, counts survive their way through JSON, and every score is in a bin."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.list_shape import as_score_counts, bin_scores, concentration
from recsys.evaluation.packed_counts import pack_counts, unpack_counts


@given(st.lists(st.floats(width=32), max_size=20))
def test_every_finite_score_is_in_a_bin(values: list[float]) -> None:
    scores = np.array(values, dtype=np.float32)
    counted = as_score_counts(bin_scores(scores, np.zeros(len(scores), dtype=bool)))
    assert sum(counted.others if counted else []) == np.isfinite(scores).sum()


def test_bins_at_the_ends_are_left_out() -> None:
    counted = as_score_counts(bin_scores(np.array([-1.0, -1.1, -2.0]), np.array([True, False, False])))
    assert counted is not None
    assert (counted.lowest, counted.width) == (-2.0, 0.25)
    assert (counted.first, counted.others) == ([0, 0, 0, 0, 1], [1, 0, 0, 1, 0])


@given(st.lists(st.integers(0, 2**31 - 1), max_size=50))
def test_counts_survive_as_text(counts: list[int]) -> None:
    assert unpack_counts(pack_counts(np.array(counts, dtype=np.int64))).tolist() == counts


def test_nothing_shown_is_no_concentration() -> None:
    found = concentration(np.zeros(3, dtype=np.int64), np.array([1, 0, 0]))
    assert (found.gini, found.top_share, found.longtail_share) == (0.0, 0.0, 0.0)
