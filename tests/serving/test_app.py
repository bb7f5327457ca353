"""Keys, rate limits, request ids and the fallback: the app of one replica with a web server, without Ray Serve."""

import asyncio
import datetime as dt
import http.client
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pyarrow.dataset as ds
import pytest
import requests
import uvicorn
from ray import serve

from recsys.config.live_service import ServeConfig
from recsys.data.events.event_checks import RowRules
from recsys.serving.app import Service, api
from recsys.serving.auth import new_key
from recsys.serving.live_snapshot import LiveSnapshot
from tests.conftest import free_ports
from tests.serving.conftest import HeldSnapshot

KEY, LINE = new_key("shop")
SLOW_KEY, SLOW_LINE = new_key("slow")
BODY = {"query": "lamp", "k": 2}
RULES = RowRules(max_id_chars=300, earliest=dt.datetime(1990, 1, 1, tzinfo=dt.UTC))


@pytest.fixture
def calls(live, one_night, monkeypatch, tmp_path) -> Callable[..., list[requests.Response]]:
    """Makes calls of `requests` to the app, one after the other, and returns the responses."""

    async def run(config: ServeConfig, snapshot: Any, make: Callable[[str], list[requests.Response]]) -> Any:
        replica = Service.__mro__[1]  # the class below Serve's wrapper, which needs a running Serve
        service = replica.__new__(replica)
        await replica.__init__(service, lambda *_: snapshot, str(one_night[0]), config, 5, RULES)
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
    assert filtered.headers["Retry-After"] == "1"


def test_a_known_user_who_is_not_ranked_in_time_gets_the_published_list(calls, live, one_night) -> None:
    """Without what the request excludes; only a user without a list gets popular items."""
    held = HeldSnapshot(live)
    lists = ds.dataset(Path(one_night[1]["path"]), format="parquet", exclude_invalid_files=True).to_table().to_pandas()
    user = lists.user_id.iloc[0]
    own = lists[lists.user_id == user].sort_values("rank").item_id.tolist()

    def make(url: str) -> list[requests.Response]:
        while not held.lengths.count(500):
            assert post(url, {}).status_code == 200
        held.hold()
        body = {"user_id": user, "history": [{"item_id": own[0]}], "exclude": [own[2]]}
        late = [post(url, body), post(url, {"user_id": user, "k": 2}), post(url, {"user_id": "nobody", "k": 2})]
        looked_up = requests.get(f"{url}/v1/users/{user}/recommendations", timeout=60)
        held.may_go_on.set()
        return [*late, looked_up]

    named, short, unknown, looked_up = (
        each.json() for each in calls(make, snapshot=held, deadline_ms=1000, refresh_s=60)
    )
    assert [item["item_id"] for item in named["items"]] == [own[1], *own[3:]]
    assert [item["rank"] for item in named["items"]] == list(range(1, len(own) - 1))
    assert [item["item_id"] for item in short["items"]] == own[:2]
    assert (named["strategy"], short["strategy"], unknown["strategy"]) == ("precomputed", "precomputed", "popular")
    assert named["warnings"] == ["ranking took longer than 1000 ms: this is the published list"]
    assert [item["item_id"] for item in looked_up["items"]] == own, "a look-up does not wait for the ranker"


class Asked:
    """A snapshot that notes whose published lists are asked for."""

    def __init__(self, live: LiveSnapshot) -> None:
        self._live = live
        self.users: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)

    def published_list(self, user_id: str, *_: Any) -> None:
        self.users.append(user_id)


ODD_IDS = [
    "a/b",
    "/a/",
    "a//b",
    "..",
    ".",
    "a b",
    "é😀",
    "a?b#c",
    "100%",
    "%2F",
    "a+b",
    "recommendations",
    "-5",
    "x" * 300,
]


def test_ids_of_any_letters_are_reached_by_path(calls, live) -> None:
    asked = Asked(live)

    def make(url: str) -> list[int]:
        statuses = []
        for user in [*ODD_IDS, "x/recommendations", " cafe\u0301 ", "x" * 301]:
            caller = http.client.HTTPConnection(url.removeprefix("http://"))  # it sends the path as it is
            path = quote(user, safe="").replace(".", "%2E")
            caller.request("GET", f"/v1/users/{path}/recommendations?k=3")
            statuses.append(caller.getresponse().status)
            caller.close()
        bodies = [{"user_id": "x" * 301}, {"exclude": ["x" * 301]}, {"history": [{"item_id": "x" * 301}]}]
        wrong = [post(url, body) for body in bodies]
        event = {"event_id": "e", "user_id": "x" * 301, "item_id": "i"}
        short = event | {"user_id": "u"}
        told = [{"events": [event]}, short | {"user_id": "null"}, short | {"weight": -1}]
        told += [{"events": [{"event_id": "1", "user_id": "u"}]}, {"events": []}]
        wrong += [requests.post(f"{url}/v1/events", json=body, timeout=60) for body in told]
        assert {each.status_code for each in wrong} == {422}
        assert [each.json()["error"]["field"] for each in wrong] == [
            *("user_id", "exclude.0", "history.0.item_id", "events.0.user_id"),
            *("user_id", "weight", "events.0", "events"),
        ]
        return statuses

    assert calls(make, snapshot=asked) == [404] * (len(ODD_IDS) + 2) + [422]
    assert asked.users == [*ODD_IDS, "x/recommendations", "caf\u00e9"], "as the night spells them"


def test_the_api_page_can_send_a_key() -> None:
    described = api.openapi()
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    keyed = {path for path, calls in described["paths"].items() for call in calls.values() if call.get("security")}
    assert keyed == {path for path in described["paths"] if path.startswith("/v1/")}


def test_the_site_of_the_nights_needs_a_key_which_a_browser_sends_as_a_password(calls, one_night) -> None:
    def make(url: str) -> list[requests.Response]:
        def get(path: str, **options: Any) -> requests.Response:
            return requests.get(url + path, timeout=60, **options)

        night = f"/nights/nights/{one_night[1]['run_id']}.html"
        refused = [get("/nights"), get("/nights/"), get(night, auth=("me", f"{KEY}x"))]
        admitted = [
            get("/nights", auth=("me", KEY)),
            get(night, auth=("me", KEY)),
            get("/nights/style.css", auth=("", KEY)),
        ]
        return [*refused, *admitted, get("/nights/x.html", headers={"Authorization": f"Bearer {KEY}"})]

    *refused, index, night, style, missing = calls(make, keys=LINE)
    assert [code(response) for response in refused] == [(401, "unauthorized")] * 3
    assert all(response.headers["WWW-Authenticate"].startswith("Basic realm=") for response in refused)
    assert code(missing) == (404, "not_found")
    assert [response.headers["Content-Type"].split(";")[0] for response in (index, night, style)] == [
        *("text/html", "text/html", "text/css")
    ]
    assert f'href="nights/{one_night[1]["run_id"]}.html"' in index.text
    assert index.url.endswith("/nights/")
    assert f"<h1>Night of {one_night[1]['run_id'][:10]}</h1>" in night.text
    assert "default-src 'self'" in night.headers["Content-Security-Policy"]
