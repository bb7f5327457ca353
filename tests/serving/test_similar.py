"""`GET /v1/items/{id}/similar` gives the rows of the nightly table."""

import datetime as dt
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
import requests

from recsys.ranking.similar_items import of_related_items, similar_items
from recsys.serving.live_snapshot import LiveSnapshot

NOW = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)


def test_an_item_gets_the_rows_of_the_nightly_table(live: LiveSnapshot, service_url: str) -> None:
    snapshot = live.ranker.snapshot
    night = similar_items(
        of_related_items(snapshot), np.arange(len(live.catalog)), live.ranker.config, live.num_similar
    ).to_pylist()
    for item_id in live.catalog.item_ids.to_pylist()[::20]:
        expected = [row for row in night if row["item_id"] == item_id]
        reply = requests.get(f"{service_url}/v1/items/{quote(item_id, safe='')}/similar", timeout=30)
        assert reply.status_code == 200
        answer = reply.json()
        assert answer["item"]["item_id"] == item_id
        assert answer["item"]["title"]
        assert [item["item_id"] for item in answer["items"]] == [row["similar_item_id"] for row in expected]
        assert [item["reason"] for item in answer["items"]] == [row["reason"] for row in expected]
        scores = [item["score"] for item in answer["items"]]
        assert scores == pytest.approx([row["score"] for row in expected], abs=1e-4)


def test_the_number_is_the_callers(live: LiveSnapshot, service_url: str) -> None:
    item_id = live.catalog.item_ids[0].as_py()
    reply = requests.get(f"{service_url}/v1/items/{item_id}/similar?k=3", timeout=30).json()
    assert [item["rank"] for item in reply["items"]] == [1, 2, 3]
    refused = requests.get(f"{service_url}/v1/items/{item_id}/similar?k=0", timeout=30)
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "k")


def test_an_unknown_item_is_not_found(service_url: str) -> None:
    for odd in ("unknown", "a%2Fb", "%C3%A9"):
        reply = requests.get(f"{service_url}/v1/items/{odd}/similar", timeout=30)
        assert (reply.status_code, reply.json()["error"]["field"]) == (404, "item_id")


def test_an_expired_item_is_similar_to_nothing(live: LiveSnapshot) -> None:
    item_id = live.catalog.item_ids[0].as_py()
    before = live.similar(item_id, 5, NOW)
    assert before is not None
    expires_at = np.full(len(live.catalog), np.iinfo(np.int64).max)
    gone = before.items[0].item_id
    expires_at[live.catalog.item_ids.index(gone).as_py()] = 0
    after = replace(live, expires_at=expires_at).similar(item_id, 5, NOW)
    assert after is not None
    assert [item.item_id for item in after.items] == [item.item_id for item in before.items[1:]]
