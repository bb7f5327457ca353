"""A segment has the means of its users, and none where it has no users."""

import numpy as np

from recsys.evaluation.segments import measure_segment


def test_a_segment_compares_the_same_users() -> None:
    found = measure_segment(
        "history 1", "ndcg@10", np.array([0.5, 0.5, 0.5]), {"popularity": np.array([0.25, 0.25, 0.25])}, seed=0
    )
    assert found.model is not None
    assert (found.users, found.model.mean, found.model.low) == (3, 0.5, 0.5)
    popularity = found.baselines["popularity"]
    assert (popularity.value.mean, popularity.difference.mean, popularity.difference.high) == (0.25, 0.25, 0.25)


def test_a_segment_without_users_has_no_figures() -> None:
    found = measure_segment("cold items", "ndcg@10", np.zeros(0), {"popularity": np.zeros(0)}, seed=0)
    assert (found.users, found.model, found.baselines) == (0, None, {})
