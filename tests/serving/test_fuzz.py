"""The service answers any request, and every error has the same form; tests/benchmarks/fuzz.py sends more requests."""

import pyarrow.dataset as ds
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings

from recsys.serving.app import api
from tests.benchmarks.hostile import Shot, failing, hostile

NUM_REQUESTS = 300
TIMEOUT_S = 60


def send(url: str, shot: Shot) -> str | None:
    """What is wrong with the answer."""
    reply = requests.request(
        shot.method, url + shot.path, data=shot.content, headers=shot.headers, timeout=TIMEOUT_S, allow_redirects=False
    )
    return failing(shot, reply.status_code, reply.content)


def test_any_request_is_answered(service_url, live, one_night):
    folder = f"{one_night[0]}/histories/{one_night[1]['run_id']}"
    users = ds.dataset(folder, format="parquet").head(1)["user_id"].to_pylist()

    @settings(
        max_examples=NUM_REQUESTS,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(shot=hostile(api.openapi(), live.catalog.item_ids.to_pylist()[:5], users))
    def answered(shot: Shot) -> None:
        assert send(service_url, shot) is None

    answered()


@pytest.mark.parametrize(
    ("status", "body", "wrong"),
    [
        (500, b'{"error": {"code": "failed", "field": null, "message": "x"}}', "status 500"),
        (422, b'{"detail": []}', "status 422 with another shape"),
        (422, b'{"error": {"code": "invalid", "message": "x"}}', "status 422 with another shape"),
        (422, b'{"error": {"code": "too_large", "field": null, "message": "x"}}', "status 422 with code too_large"),
        (200, b"{}", "status 200 with another shape"),
    ],
)
def test_a_wrong_answer_is_found(status, body, wrong):
    shot = Shot(method="POST", path="/v1/recommendations")
    assert (failing(shot, status, body) or "").startswith(wrong)
