"""`POST /v1/rank` ranks the caller's candidates as lists are ranked, and names those that it does not know."""

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import requests

from recsys.serving.contracts import HistoryEvent, RankedCandidates, RankRequest, RecommendationRequest
from recsys.serving.live_snapshot import LiveSnapshot
from tests.serving.conftest import with_snapshot

NOW = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)


def ids_of(live: LiveSnapshot) -> list[str]:
    return list(live.catalog.item_ids.to_pylist())


def rank(live: LiveSnapshot, **request: Any) -> RankedCandidates:
    return live.rank([RankRequest(**request)], NOW)[0]


def test_candidates_stand_in_the_order_of_a_list(live: LiveSnapshot) -> None:
    history = [HistoryEvent(item_id=item) for item in ids_of(live)[:2]]
    listed = live.answer([RecommendationRequest(history=history, k=20)], NOW)[0]
    warm = ~live.ranker.snapshot.is_cold
    ids = [item.item_id for item in listed.items if warm[ids_of(live).index(item.item_id)]]
    ranked = rank(live, history=history, candidates=sorted(ids))
    assert [item.item_id for item in ranked.items] == ids
    assert [item.rank for item in ranked.items] == list(range(1, len(ids) + 1))
    assert np.exp([item.score for item in ranked.items]).sum() == pytest.approx(1, abs=1e-3)
    assert ranked.strategy == "personalized"
    assert all(item.reason and item.source and item.title for item in ranked.items)


def test_unknown_candidates_are_named_and_repeated_ones_count_once(live: LiveSnapshot) -> None:
    first, second = ids_of(live)[:2]
    ranked = rank(live, candidates=["no-2", first, "no-1", first, second, "no-2"])
    assert {item.item_id for item in ranked.items} == {first, second}
    assert ranked.unknown == ["no-2", "no-1"]
    nothing = rank(live, candidates=["no-1"])
    assert (nothing.items, nothing.unknown, nothing.run_id) == ([], ["no-1"], ranked.run_id)


def test_what_lists_leave_out_is_ranked_too(live: LiveSnapshot) -> None:
    """The caller decides what a candidate is: also what the user had, and what may not be recommended."""
    ids = ids_of(live)
    had = [HistoryEvent(item_id=ids[0])]
    closed = replace(live.ranker.snapshot, recommendable=np.zeros(len(ids), dtype=bool))
    for each in (live, with_snapshot(live, closed)):
        assert {item.item_id for item in rank(each, history=had, candidates=ids).items} == set(ids)


def test_an_answer_does_not_depend_on_its_batch(live: LiveSnapshot) -> None:
    ids = ids_of(live)
    asked = [
        RankRequest(candidates=ids[: 3 + 5 * (number % 3)], history=[HistoryEvent(item_id=ids[-1 - number])])
        for number in range(7)
    ]
    asked.append(RankRequest(candidates=["unknown"], query="lamp"))
    together = live.rank(asked, NOW)
    assert [len(answer.items) for answer in together] == [3, 8, 13, 3, 8, 13, 3, 0]
    for request, answer in zip(asked, together, strict=True):
        alone = live.rank([request], NOW)[0]
        assert [item.item_id for item in alone.items] == [item.item_id for item in answer.items]
        np.testing.assert_allclose(
            [item.score for item in alone.items], [item.score for item in answer.items], rtol=0, atol=1e-4
        )


def test_an_expired_item_is_left_out_from_that_moment(live: LiveSnapshot) -> None:
    best = live.answer([RecommendationRequest(k=3)], NOW)[0].items[0].item_id
    expires_at = np.full(len(live.catalog), np.iinfo(np.int64).max)
    expires_at[ids_of(live).index(best)] = NOW.timestamp() * 1e6
    expiring = replace(live, expires_at=expires_at)
    for now, is_there in ((NOW - dt.timedelta(seconds=1), True), (NOW, False)):
        answer = expiring.answer([RecommendationRequest(k=3)], now)[0]
        assert (best in [item.item_id for item in answer.items]) == is_there
        assert len(answer.items) == 3


def test_the_service_ranks_over_http(service_url: str, live: LiveSnapshot) -> None:
    ids = ids_of(live)[:4]
    body = {"candidates": [*ids, "unknown"], "history": [{"item_id": ids[0]}]}
    reply = requests.post(f"{service_url}/v1/rank", json=body, timeout=30)
    assert reply.status_code == 200
    assert {item["item_id"] for item in reply.json()["items"]} == set(ids)
    assert reply.json()["unknown"] == ["unknown"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "candidates"),
        ({"candidates": []}, "candidates"),
        ({"candidates": ["i"] * 1001}, "candidates"),
        ({"candidates": ["a", ""]}, "candidates.1"),
        ({"candidates": ["a", "i" * 300]}, "candidates.1"),
        ({"candidates": ["a"], "k": 3}, "k"),
    ],
)
def test_a_wrong_request_is_refused_with_its_field(service_url: str, body: dict[str, Any], field: str) -> None:
    reply = requests.post(f"{service_url}/v1/rank", json=body, timeout=30)
    assert reply.status_code == 422
    assert reply.json()["error"]["field"] == field
