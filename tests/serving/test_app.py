"""Keys, rate limits, request ids and the fallback: the app of one replica with a web server, without Ray Serve."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import uvicorn
from ray import serve

from recsys.config.live_service import ServeConfig
from recsys.serving.app import Service, api
from recsys.serving.auth import new_key
from tests.conftest import free_ports
from tests.serving.conftest import HeldSnapshot

KEY, LINE = new_key("shop")
SLOW_KEY, SLOW_LINE = new_key("slow")
BODY = {"query": "lamp", "k": 2}


@pytest.fixture
def calls(live, one_night, monkeypatch, tmp_path) -> Callable[..., list[requests.Response]]:
    """Makes calls of `requests` to the app, one after the other, and returns the responses."""

    async def run(config: ServeConfig, snapshot: Any, make: Callable[[str], list[requests.Response]]) -> Any:
        replica = Service.__mro__[1]  # the class below Serve's wrapper, which needs a running Serve
        service = replica.__new__(replica)
        await replica.__init__(service, lambda *_: snapshot, str(one_night[0]), config, 5)
        monkeypatch.setattr(serve, "get_replica_context", lambda: SimpleNamespace(servable_object=service))
        (port,) = free_ports(1)
        server = uvicorn.Server(uvicorn.Config(api, port=port, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        try:
            return await asyncio.to_thread(make, f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            await serving

    def make_calls(make: Callable[[str], Any], snapshot: Any = live, keys: str | None = None, **settings: Any) -> Any:
        if keys is not None:
            (tmp_path / "keys.yaml").write_text(keys)
            settings["keys_file"] = str(tmp_path / "keys.yaml")
        return asyncio.run(run(ServeConfig(**settings), snapshot, make))

    monkeypatch.delenv("RECSYS_KEYS", raising=False)
    return make_calls


def code(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def post(url: str, body: Any = BODY, **headers: str) -> requests.Response:
    return requests.post(f"{url}/v1/recommendations", json=body, headers=headers, timeout=60)


@pytest.mark.parametrize(
    "header",
    [None, "", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer"],
    ids=["none", "empty", "basic", "no scheme", "longer key", "shorter key", "no key"],
)
def test_without_a_known_key_every_call_of_the_api_is_refused(calls, header) -> None:
    headers = {} if header is None else {"Authorization": header}

    def make(url: str) -> list[requests.Response]:
        def get(path: str) -> requests.Response:
            return requests.get(url + path, headers=headers, timeout=60)

        refused = [post(url, **headers), post(url, {"k": 0}, **headers), get("/v1/users/u/recommendations")]
        refused += [get("/v1/items?search=x"), requests.post(f"{url}/v1/events", json={}, headers=headers, timeout=60)]
        return [*refused, get("/healthz"), get("/readyz"), get("/"), get("/docs")]

    *refused, health, ready, page, docs = calls(make, keys=LINE)
    assert [code(response) for response in refused] == [(401, "unauthorized")] * 5
    assert {response.headers["WWW-Authenticate"] for response in refused} == {"Bearer"}
    assert [response.status_code for response in (health, ready, page, docs)] == [200] * 4


def test_a_known_key_is_admitted_as_often_as_its_limit_allows(calls) -> None:
    limited = json.loads(SLOW_LINE.removeprefix("- ")) | {"rate_limit": {"requests_per_second": 0.001, "burst": 2}}
    keys = f"{LINE}\n- {json.dumps(limited)}"

    def make(url: str) -> list[requests.Response]:
        slow = [post(url, Authorization=f"Bearer {SLOW_KEY}") for _ in range(3)]
        return [*slow, *(post(url, Authorization=f"bearer {KEY}") for _ in range(3))]

    responses = calls(make, keys=keys)
    assert [response.status_code for response in responses] == [200, 200, 429, 200, 200, 200]
    assert code(responses[2]) == (429, "too_many_requests")
    assert 990 <= int(responses[2].headers["Retry-After"]) <= 1001


def test_a_request_that_is_not_ranked_in_time_gets_popular_items(calls, live) -> None:
    held = HeldSnapshot(live)

    def make(url: str) -> list[requests.Response]:
        early = post(url, {"k": 5})
        while not held.lengths.count(500):  # until the list of popular items was made
            assert post(url, {}).status_code == 200
        held.hold()
        late = [post(url), post(url, BODY | {"filters": {"category": "x"}})]
        held.may_go_on.set()
        return [early, *late]

    early, late, filtered = calls(make, snapshot=held, deadline_ms=2000, refresh_s=60)
    assert late.json()["strategy"] == "popular"
    assert late.json()["warnings"] == ["ranking took longer than 2000 ms: these are popular items"]
    assert [item["item_id"] for item in late.json()["items"]] == [item["item_id"] for item in early.json()["items"]][:2]
    assert code(filtered) == (503, "too_slow")
    assert filtered.headers["Retry-After"] == "2"


def test_the_api_page_can_send_a_key() -> None:
    described = api.openapi()
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    keyed = {path for path, calls in described["paths"].items() for call in calls.values() if call.get("security")}
    assert keyed == {path for path in described["paths"] if path.startswith("/v1/")}
