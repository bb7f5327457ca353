"""The service over HTTP on a real Ray Serve: its contract, its errors, and the change to a newer run."""

import concurrent.futures
import json
import shutil
import time
from pathlib import Path

import pytest
import requests

from recsys.serving.contracts import MAX_BODY_BYTES
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, require_latest
from recsys.storage.manifest import MANIFEST
from tests.conftest import MAX_IN_FLIGHT

TIMEOUT_S = 30


def post(url, path="/v1/recommendations", **body):
    return requests.post(f"{url}{path}", json=body, timeout=TIMEOUT_S)


def error_of(response):
    assert set(response.json()) == {"error"}
    return response.status_code, response.json()["error"]["code"], response.json()["error"]["field"]


def test_it_is_alive_and_ready(service_url, one_night):
    assert requests.get(f"{service_url}/healthz", timeout=TIMEOUT_S).json() == {"status": "alive"}
    ready = requests.get(f"{service_url}/readyz", timeout=TIMEOUT_S)
    assert ready.status_code == 200
    assert (ready.json()["ready"], ready.json()["run_id"]) == (True, one_night[1]["run_id"])


@pytest.mark.parametrize(
    ("body", "strategy"),
    [
        ({}, "popular"),
        ({"query": "steel lamp"}, "query"),
        ({"history": [{"item_id": "i0001"}]}, "personalized"),
        ({"user_id": "nobody"}, "popular"),
    ],
)
def test_every_request_gets_a_list(service_url, live, body, strategy):
    body = json.loads(json.dumps(body).replace("i0001", live.catalog.item_ids[3].as_py()))
    response = post(service_url, **body)
    assert response.status_code == 200
    answer = response.json()
    assert answer["strategy"] == strategy
    assert [item["rank"] for item in answer["items"]] == list(range(1, live.ranker.config.top_k + 1))
    assert all(item["title"] and item["reason"] and item["source"] for item in answer["items"])
    assert len(response.headers["X-Request-ID"].split(", ")) == 1, "one header, Serve's own"


def test_a_known_user_has_a_published_list(service_url, one_night, live):
    user = _some_user(one_night)
    response = requests.get(f"{service_url}/v1/users/{user}/recommendations?k=2", timeout=TIMEOUT_S)
    assert response.json()["strategy"] == "precomputed"
    assert len(response.json()["items"]) == 2
    unknown = requests.get(f"{service_url}/v1/users/nobody/recommendations", timeout=TIMEOUT_S)
    assert error_of(unknown) == (404, "not_found", "user_id")
    assert "POST /v1/recommendations" in unknown.json()["error"]["message"]
    for odd in ("a%2Fb", "a/b", "%2E%2E%2Fx", "a%20b%3F", "%C3%A9"):  # they reach the app through the proxy too
        assert (
            error_of(requests.get(f"{service_url}/v1/users/{odd}/recommendations", timeout=TIMEOUT_S))[2] == "user_id"
        )


def test_no_log_names_a_user(service_url):
    """Neither our logs nor those of Ray."""
    import ray

    user = "a-user-who-is-in-no-log"
    assert requests.get(f"{service_url}/v1/users/{user}/recommendations", timeout=TIMEOUT_S).status_code == 404
    folder = Path(ray.init(ignore_reinit_error=True).address_info["session_dir"], "logs")
    logs = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name.startswith("proxy_") for path in logs)
    assert not [path for path in logs if user.encode() in path.read_bytes()]


def _some_user(one_night):
    import pyarrow.dataset as ds

    folder = f"{one_night[0]}/histories/{one_night[1]['run_id']}"
    return ds.dataset(folder, format="parquet").head(1)["user_id"][0].as_py()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"k": 0}, (422, "invalid", "k")),
        ({"k": 501}, (422, "invalid", "k")),
        ({"query": "x" * 2001}, (422, "invalid", "query")),
        ({"history": [{"item_id": "i"}] * 201}, (422, "invalid", "history")),
        ({"history": [{"item_id": "i", "timestamp": "yesterday"}]}, (422, "invalid", "history.0.timestamp")),
        ({"histori": []}, (422, "invalid", "histori")),
        ({"user_id": "a\x00b"}, (422, "invalid", "user_id")),
        ({"filters": {"no such": "x"}}, (422, "invalid", "filters.no such")),
    ],
)
def test_wrong_input_names_its_field(service_url, body, expected):
    assert error_of(post(service_url, **body)) == expected


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 100_000, b"\xff", b"null", b"1e999", b'{"k": NaN}'])
def test_a_body_that_is_not_valid_json_is_refused(service_url, body):
    response = requests.post(
        f"{service_url}/v1/recommendations", data=body, headers={"Content-Type": "application/json"}, timeout=TIMEOUT_S
    )
    assert error_of(response)[0] in (400, 422)


def test_a_body_that_is_too_large_is_refused(service_url):
    response = requests.post(f"{service_url}/v1/recommendations", data=b"x" * (MAX_BODY_BYTES + 1), timeout=TIMEOUT_S)
    assert error_of(response) == (413, "too_large", None)


def test_unknown_pages_and_methods_have_the_same_error_reply(service_url):
    assert error_of(requests.get(f"{service_url}/nothing", timeout=TIMEOUT_S)) == (404, "not_found", None)
    assert error_of(requests.get(f"{service_url}/v1/recommendations", timeout=TIMEOUT_S)) == (405, "not_allowed", None)
    assert error_of(requests.get(f"{service_url}/page/..%2Fapp.py", timeout=TIMEOUT_S))[0] == 404


def test_the_api_description_is_complete(service_url):
    described = requests.get(f"{service_url}/openapi.json", timeout=TIMEOUT_S).json()
    assert set(described["paths"]) == {
        *("/v1/recommendations", "/v1/rank", "/v1/events", "/v1/items", "/v1/items/{item_id}/similar"),
        *("/v1/users/{user_id}/recommendations", "/v1/users/{user_id}/explanation", "/healthz", "/readyz"),
    }
    for name in ("RecommendationRequest", "RankRequest"):
        request = described["components"]["schemas"][name]
        assert request["examples"]
        assert all(field.get("description") for field in request["properties"].values())


def test_items_are_found_and_feedback_is_kept(service_url, service_storage, live):
    title = live.catalog.titles[0].as_py()
    found = requests.get(f"{service_url}/v1/items", params={"search": title}, timeout=TIMEOUT_S).json()["items"]
    assert title in [item["title"] for item in found]
    event = {"event_id": "e1", "user_id": "new", "item_id": found[0]["item_id"]}
    first = post(service_url, "/v1/events", **event)
    assert (first.status_code, first.json()) == (202, {"accepted": 1, "duplicates": 0})
    again = post(service_url, "/v1/events", events=[event, event | {"event_id": "e2"}])
    assert again.json() == {"accepted": 1, "duplicates": 1}
    lines = [line for file in (service_storage / "feedback").rglob("*.jsonl") for line in file.read_text().splitlines()]
    kept = [json.loads(line) for line in lines]
    assert [row["event_id"] for row in kept if row["user_id"] == "new"] == ["e1", "e2"]
    assert error_of(post(service_url, "/v1/events", event_id="e3", user_id="u"))[0] == 422


def test_equal_requests_at_the_same_time_get_equal_lists(service_url):
    with concurrent.futures.ThreadPoolExecutor(MAX_IN_FLIGHT // 2) as threads:
        answers = list(threads.map(lambda _: post(service_url, query="steel").json(), range(48)))
    assert {json.dumps(answer["items"]) for answer in answers} == {json.dumps(answers[0]["items"])}


def test_too_many_requests_at_the_same_time_are_refused_and_the_others_answered(service_url):
    def ask(_):
        return post(service_url, query="steel", k=50)

    refused = []
    for _ in range(20):  # a slow machine may send too few at the same time
        with concurrent.futures.ThreadPoolExecutor(4 * MAX_IN_FLIGHT) as threads:
            replies = list(threads.map(ask, range(8 * MAX_IN_FLIGHT)))
        assert {reply.status_code for reply in replies} <= {200, 429}
        refused = [reply for reply in replies if reply.status_code == 429]
        if refused:
            break
    assert error_of(refused[0]) == (429, "too_many_requests", None)
    assert refused[0].headers["Retry-After"] == "1"
    assert ask(0).status_code == 200


def test_a_broken_run_is_not_loaded_and_a_good_one_replaces_the_old(service_url, service_storage, one_night):
    storage = Storage(str(service_storage))
    pointer = storage.read_bytes(LATEST)
    latest = require_latest(storage)
    record = json.loads(pointer)
    storage.write_json(LATEST, record | {"run_id": "2026-11-23-000000000000", "manifest_sha256": "0" * 64})
    assert _eventually(service_url, lambda state: state["fault"] is not None)["run_id"] == latest.run_id
    assert post(service_url).json()["run_id"] == latest.run_id

    other = f"{latest.run_id}-2"  # a copy of the same run under another name
    for folder in ("runs/{}", "histories/{}", f"recommendations/run_date={latest.run_date}/run_id={{}}"):
        shutil.copytree(service_storage / folder.format(latest.run_id), service_storage / folder.format(other))
    manifest = f"{record['path']}-2/{MANIFEST}"
    storage.write_json(manifest, storage.read_json(manifest) | {"run_id": other})
    named = {"run_id": other, "path": record["path"] + "-2", "manifest_sha256": storage.sha256(manifest)}
    storage.write_json(LATEST, record | named)
    state = _eventually(service_url, lambda state: state["run_id"] == other)
    assert state["fault"] is None
    assert post(service_url).json()["run_id"] == other
    storage.write_bytes(LATEST, pointer)
    _eventually(service_url, lambda state: state["run_id"] == latest.run_id)


def _eventually(url, holds):
    """The answer of /readyz as soon as `holds` is true for it; each call waits for the server, none sleeps."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        state = requests.get(f"{url}/readyz", timeout=TIMEOUT_S).json()
        if holds(state):
            return state
    raise AssertionError(state)


def test_ray_exports_requests_by_route_and_lists_by_strategy(service_url):
    import ray

    assert post(service_url, query="steel").status_code == 200
    (node,) = ray.nodes()
    exporter = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    wanted = {
        "ray_serve_num_http_requests_total": 'route="/v1/recommendations",status_code="200"',
        "ray_serve_http_request_latency_ms_count": 'route="/v1/users/{user_id:path}/recommendations",status_code="404"',
        "ray_recsys_lists_total": 'strategy="query"',
        "ray_recsys_snapshot_age_seconds": "",
        "ray_recsys_batch_size_count": "",
    }
    end = time.monotonic() + 60
    while wanted and time.monotonic() < end:
        exported = requests.get(exporter, timeout=TIMEOUT_S).text.splitlines()
        wanted = {
            name: tags
            for name, tags in wanted.items()
            if not any(line.startswith(name + "{") and tags in line for line in exported)
        }
    assert wanted == {}
