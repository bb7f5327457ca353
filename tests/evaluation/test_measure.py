"""Accuracy metrics agree with ranx, with each other and with what is expected of them."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.evaluation.measure import hits_matrix, measure
from tests.evaluation import ranx_values

NUM_ITEMS = 12
NAMES = ("ndcg", "recall", "hitrate", "mrr")


@st.composite
def rankings(draw):
    """Lists of distinct items, some short, and relevant sets, some empty, as `measure` takes them."""
    num_users, width = draw(st.integers(1, 6)), draw(st.integers(0, 8))
    items = st.lists(st.integers(0, NUM_ITEMS - 1), unique=True, max_size=width)
    lists = draw(st.lists(items, min_size=num_users, max_size=num_users))
    wanted = st.lists(st.integers(0, NUM_ITEMS - 1), unique=True, max_size=5)
    relevant = draw(st.lists(wanted, min_size=num_users, max_size=num_users))
    return as_arrays(lists, relevant, width)


def as_arrays(lists, relevant, width):
    recommended = np.array([row + [-1] * (width - len(row)) for row in lists], dtype=np.int32).reshape(
        len(lists), width
    )
    indptr = np.cumsum([0, *map(len, relevant)])
    return recommended, indptr, np.array([item for row in relevant for item in row], dtype=np.int32)


def test_values_equal_those_of_ranx():
    known = json.loads(ranx_values.PATH.read_text())
    lists, relevant = ranx_values.lists()
    measured = measure(*as_arrays(lists, relevant, 25), list(known))
    assert set(known) == {f"{name}@{k}" for name in NAMES for k in ranx_values.CUTOFFS}
    for name, values in known.items():
        assert 0 < measured[name].mean() < 1
        np.testing.assert_allclose(measured[name], values, atol=1e-9, err_msg=name)


@given(rankings())
def test_hits_are_the_relevant_items(ranking):
    recommended, indptr, indices = ranking
    hits = hits_matrix(recommended, indptr, indices)
    for user, row in enumerate(recommended):
        relevant = set(indices[indptr[user] : indptr[user + 1]].tolist())
        assert hits[user].tolist() == [item in relevant for item in row.tolist()]


@given(rankings(), st.integers(1, 12))
def test_metrics_stay_in_bounds_and_agree(ranking, k):
    measured = measure(*ranking, [f"{name}@{k}" for name in NAMES])
    ndcg, recall, hitrate, mrr = (measured[f"{name}@{k}"] for name in NAMES)
    for values in (ndcg, recall, hitrate, mrr):
        assert values.dtype == np.float64
        assert values.shape == (len(ranking[0]),)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
        assert ((values > 0) == (hitrate == 1)).all()
    assert (mrr <= hitrate).all()
    assert (recall <= hitrate).all()


@given(rankings(), st.integers(1, 10))
def test_longer_lists_never_find_less(ranking, k):
    measured = measure(*ranking, [f"{name}@{n}" for name in ("recall", "hitrate", "mrr") for n in (k, k + 1)])
    for name in ("recall", "hitrate", "mrr"):
        assert (measured[f"{name}@{k}"] <= measured[f"{name}@{k + 1}"]).all()


@given(rankings(), st.integers(1, 8), st.randoms())
def test_moving_a_hit_up_never_hurts(ranking, k, random):
    recommended, indptr, indices = ranking
    names = [f"{name}@{k}" for name in NAMES]
    hits = hits_matrix(recommended, indptr, indices)
    before = measure(recommended, indptr, indices, names)
    better = recommended.copy()
    for user, row in enumerate(hits):
        if row.any():
            place = random.choice(np.flatnonzero(row).tolist())
            above = random.randint(0, place)
            better[user, [above, place]] = better[user, [place, above]]
    after = measure(better, indptr, indices, names)
    assert all((after[name] >= before[name] - 1e-12).all() for name in names)


@given(st.integers(1, 6), st.integers(1, 10))
def test_a_perfect_list_scores_one(num_relevant, k):
    perfect = as_arrays([list(range(10))], [list(range(num_relevant))], 10)
    measured = measure(*perfect, [f"{name}@{k}" for name in NAMES])
    assert math.isclose(measured[f"ndcg@{k}"][0], 1)
    assert measured[f"recall@{k}"][0] == min(1, k / num_relevant)


def test_no_users_and_no_lists_are_no_trouble():
    nobody = measure(np.empty((0, 5), int), np.zeros(1, int), np.empty(0, int), ["ndcg@5", "mrr@5"])
    assert [len(values) for values in nobody.values()] == [0, 0]
    nothing = measure(np.empty((1, 0), int), np.array([0, 1]), np.array([3]), [f"{name}@5" for name in NAMES])
    assert all(values.tolist() == [0] for values in nothing.values())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("precision@10", "is not known; choose one of ndcg@k, recall@k, hitrate@k, mrr@k"),
        ("coverage@10", "does not compare lists with what users wanted; choose one of ndcg@k"),
        ("ndcg", "write ndcg@10; the number of places is from 1 to 9999"),
        ("ndcg@ten", "write ndcg@10"),
        ("ndcg@0", "write ndcg@10"),
        ("ndcg@01", "write ndcg@10"),
        ("ndcg@10000", "write ndcg@10"),
        ("ndcg@²", "write ndcg@10"),
    ],
)
def test_an_unknown_metric_is_refused(name, reason):
    with pytest.raises(ConfigError, match=f"^metric '{name}'.*{re.escape(reason)}"):
        measure(np.array([[0]]), np.array([0, 1]), np.array([0]), [name])
