import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recsys.evaluation.gate import judge

SCORES = st.integers(1, 30).flatmap(lambda num: arrays(np.float64, (3, num), elements=st.floats(0, 1)))


def around(mean, num=312):
    """Values of `num` users with just this mean, a third of the users at each of three levels."""
    return mean + np.resize([-0.01, 0.0, 0.01], num)


def test_a_model_below_popularity_is_refused_with_both_numbers():
    verdict = judge("ndcg@10", around(0.041), around(0.055), None, min_users=20, seed=0)
    assert not verdict.passed
    assert verdict.reason == (
        "ndcg@10 0.041 is significantly below popularity's 0.055 on 312 held-out users "
        "(95 % interval of the difference [-0.0140, -0.0140])"
    )
    assert verdict.warnings == ()
    assert verdict.baselines["popularity"].difference.high == pytest.approx(-0.014)


def test_a_model_that_leads_passes():
    verdict = judge("recall@5", around(0.4), around(0.3), around(0.39), min_users=20, seed=0)
    assert verdict.passed
    assert verdict.reason == (
        "recall@5 0.400 against popularity's 0.300 and the published model's 0.390 on 312 held-out users"
    )
    assert verdict.warnings == ()
    assert set(verdict.baselines) == {"popularity", "published"}


def test_equal_to_popularity_is_not_below_it():
    verdict = judge("ndcg@10", around(0.3), around(0.3), None, min_users=20, seed=0)
    assert verdict.passed
    assert "may be no better" in verdict.warnings[0]


def test_a_model_perhaps_worse_than_popularity_passes_with_a_warning():
    noise = np.random.default_rng(0).normal(0, 0.3, 312)
    verdict = judge("ndcg@10", around(0.30), around(0.31) + noise - noise.mean(), None, min_users=20, seed=0)
    assert verdict.passed
    assert "may be no better" in verdict.warnings[0]


def test_a_model_surely_worse_than_the_published_one_is_refused():
    verdict = judge("ndcg@10", around(0.30), around(0.1), around(0.33), min_users=20, seed=0)
    assert not verdict.passed
    assert verdict.reason.startswith(
        "ndcg@10 0.300 is significantly below the published model's 0.330 on 312 held-out users"
    )


def test_a_model_perhaps_worse_than_the_published_one_passes():
    noise = np.random.default_rng(0).normal(0, 0.3, 312)
    published = around(0.31) + noise - noise.mean()
    verdict = judge("ndcg@10", around(0.30), around(0.1), published, min_users=20, seed=0)
    assert verdict.passed
    difference = verdict.baselines["published"].difference
    assert difference.low < difference.mean < 0 < difference.high


def test_slightly_below_the_published_model_is_tolerated_but_not_below_popularity():
    users = np.random.default_rng(0).uniform(0.4, 0.6, 312)
    for below, passes in ((0.01, True), (0.03, False)):
        verdict = judge("ndcg@10", users - below * 0.5, users - 0.3, users, min_users=20, seed=0, tolerance=0.02)
        assert verdict.passed == passes
    assert not judge("ndcg@10", users - 0.005, users, None, min_users=20, seed=0, tolerance=0.02).passed


def test_the_comparison_is_paired():
    users = np.random.default_rng(0).uniform(0, 1, 312)  # users differ widely, the models by a hair
    assert not judge("ndcg@10", users - 0.001, users - 0.5, users, min_users=20, seed=0).passed


@pytest.mark.parametrize("num", [0, 1, 19])
def test_with_few_users_no_model_is_refused(num):
    verdict = judge("ndcg@10", around(0.1, num), around(0.9, num), around(0.9, num), min_users=20, seed=0)
    assert verdict.passed
    assert f"{num} held-out users are fewer than 20, so no model is refused" in verdict.warnings[0]
    assert not judge("ndcg@10", around(0.1, 20), around(0.9, 20), None, min_users=20, seed=0).passed


def test_close_numbers_are_written_apart():
    verdict = judge("ndcg@10", around(0.30001), around(0.30002), None, min_users=20, seed=0)
    assert "0.30001 is significantly below popularity's 0.30002" in verdict.reason


def test_users_must_be_the_same():
    with pytest.raises(AssertionError, match="popularity"):
        judge("ndcg@10", around(0.3, 30), around(0.3, 31), None, min_users=20, seed=0)


@given(SCORES, st.integers(0, 100))
def test_a_verdict_follows_the_rules_and_is_plain_json(scores, seed):
    model, popularity, published = scores
    verdict = judge("mrr@10", model, popularity, published, min_users=5, seed=seed)
    assert verdict == judge("mrr@10", model, popularity, published, min_users=5, seed=seed)
    refused = any(rival.difference.high < 0 for rival in verdict.baselines.values())
    assert verdict.passed == (len(model) < 5 or not refused)
    assert json.loads(json.dumps(verdict.as_dict(), allow_nan=False)) == verdict.as_dict()
