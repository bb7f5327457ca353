"""Generates hostile requests and checks the answers to them.

Hypothesis makes four kinds: bodies that follow or break the service's OpenAPI (by schemathesis), valid but strange
bodies, good bodies with one bad value, and bytes that are not JSON, nested too deep or too large.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

from recsys.serving.contracts import (
    MAX_BODY_BYTES,
    MAX_QUERY_CHARS,
    Accepted,
    Contract,
    ErrorReply,
    RankedCandidates,
    Recommendations,
)
from recsys.serving.error_replies import STATUS
from recsys.serving.look_up_replies import ExplainedUser, FoundItems, SimilarItems

JSON = "application/json"
RECOMMEND, RANK, EVENTS = "/v1/recommendations", "/v1/rank", "/v1/events"


@dataclass(frozen=True, kw_only=True, repr=False)
class Shot:
    """A request, byte for byte."""

    method: str
    path: str
    """With its query string, as sent."""
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        content = self.content or b""
        return f"{self.method} {self.path[:200]} {self.headers} {len(content):,} bytes {content[:300]!r}"


def hostile(spec: dict[str, Any], items: Sequence[str], users: Sequence[str]) -> st.SearchStrategy[Shot]:
    """A strategy for all kinds of hostile requests.

    Args:
        spec: The OpenAPI of the service.
        items: Some ids that the service knows.
        users: Some ids that the service knows.
    """
    good = [(RECOMMEND, body) for body in _good_requests(items, users)] + [(EVENTS, _good_events(items))]
    documented = _documented(spec)
    return st.one_of(documented, documented, _strange(items, users), _with_a_bad_value(good), _no_json(good))


def failing(shot: Shot, status: int, body: bytes) -> str | None:
    """What is wrong with an answer; None if it is right."""
    if status >= 500:
        return f"status {status}"
    try:
        if status < 400:
            _reply_of(shot).model_validate_json(body)
            return None
        error = ErrorReply.model_validate_json(body).error
    except ValueError as wrong:
        return f"status {status} with another shape: {wrong}"
    return None if STATUS.get(error.code) == status and error.message else f"status {status} with code {error.code}"


def _reply_of(shot: Shot) -> type[Contract]:
    path = shot.path.partition("?")[0]
    if path.endswith("/similar"):
        return SimilarItems
    if path.endswith("/explanation"):
        return ExplainedUser
    replies = {"/v1/items": FoundItems, EVENTS: Accepted, RANK: RankedCandidates}
    return replies.get(path, Recommendations)


def _documented(spec: dict[str, Any]) -> st.SearchStrategy[Shot]:
    schema = schemathesis.openapi.from_dict(spec).include(path_regex="^/v1/")
    operations = [operation.ok() for operation in schema.get_all_operations()]
    cases = [operation.as_strategy(generation_mode=mode) for operation in operations for mode in GenerationMode]
    return st.one_of(cases).map(_shot_of)


def _shot_of(case: schemathesis.Case) -> Shot:
    sent = case.as_transport_kwargs(base_url="http://service")
    prepared = requests.Request(
        **{name: sent[name] for name in ("method", "url", "params", "data", "json", "headers") if name in sent}
    ).prepare()
    content = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    headers = {"Content-Type": str(prepared.headers["Content-Type"])} if "Content-Type" in prepared.headers else {}
    assert prepared.method is not None
    return Shot(method=prepared.method, path=prepared.path_url, content=content, headers=headers)


def _strange(items: Sequence[str], users: Sequence[str]) -> st.SearchStrategy[Shot]:
    """Strange bodies that are mostly valid: any timestamp from year 1, any letters, any number of known items."""
    words = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40)
    times = st.datetimes(timezones=st.none() | st.timezones()).map(lambda time: time.isoformat())
    ids = st.sampled_from([*items, "nope"])
    event = st.fixed_dictionaries({"item_id": ids}, optional={"timestamp": times, "event": words})
    asked = st.fixed_dictionaries(
        {},
        optional={
            "user_id": st.sampled_from([*users, "nobody"]),
            "history": st.lists(event, max_size=20),
            "query": st.text(max_size=300),
            "attributes": st.dictionaries(words, words, max_size=3),
            "k": st.integers(1, 500),
            "exclude": st.lists(ids, max_size=10),
        },
    )
    feedback = st.fixed_dictionaries(
        {"event_id": words.filter(bool), "user_id": words.filter(bool), "item_id": ids},
        optional={"timestamp": times, "event": words, "weight": st.floats(0, 1e6), "text": st.text(max_size=300)},
    )
    made = st.tuples(st.just(RECOMMEND), asked) | st.tuples(st.just(EVENTS), feedback)
    return made.map(lambda drawn: _post(drawn[0], json.dumps(drawn[1]).encode()))


def _good_requests(items: Sequence[str], users: Sequence[str]) -> list[dict[str, Any]]:
    seen = [{"item_id": item, "timestamp": "2026-11-22T10:00:00Z", "event": "view"} for item in items[:3]]
    whole = {"history": seen, "query": "oak lamp", "k": 5, "exclude": list(items[3:5]), "filters": {"category": "Lamp"}}
    return [
        whole | {"attributes": {"age": "30"}, "user_id": users[0]},
        {"user_id": users[0], "k": 500},
        {"history": seen, "k": 500},
        {"query": "steel vase"},
    ]


def _good_events(items: Sequence[str]) -> dict[str, Any]:
    event = {"event_id": "e", "user_id": "fuzz", "timestamp": "2026-11-22T10:00:00Z", "event": "buy", "weight": 1.0}
    return {"events": [event | {"item_id": items[0]}, event | {"event_id": "f", "text": "a red lamp"}]}


#: JSON texts of values that often break programs. Some are not valid JSON, but many parsers accept them.
_BAD = [
    *("null", "true", '""', '" "', "[]", "{}", "[[]]", '"5"', "5.5", "-1", "0", "-0.0", "1e400", "-1e400", "NaN"),
    *("-Infinity", "9" * 25, "9" * 4000, "9" * 5000, "1e-4000", '"1970"', '"yesterday"', '"2026-02-30T00:00:00Z"'),
    *('"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59.999999-23:59"', '"9999-12-31T23:59:59Z"', '"1677-01-01"'),
    *('"0001-01-01"', "1e18", "-62135596801", "253402300800", '"2026-11-22T10:00:00+99:99"', '"20261122T10"'),
    *('"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"a\\u202eb"', '"\\ufeff"', '{"\\ud800": 1}', '{"\\u0000": "x"}'),
    *('"' + "x" * 257 + '"', '"' + "\\u0301" * 1000 + '"', '"' + "🏮" * MAX_QUERY_CHARS + '"', '["x", 1, null, {}]'),
    *("[" + ",".join(["0"] * 5000) + "]", "{" + ",".join(f'"{n}": "x"' for n in range(5000)) + "}"),
    *('"../../etc/passwd"', '"<script>alert(1)</script>"', '"%00%2e%2e"', '"{title}{0.__class__}"', '"a OR 1=1"'),
]
_BAD_NAMES = ["", "k ", "K", "__proto__", "\\ud800", "\\u0000", "history.0.item_id", "x" * 5000, "self", "model_config"]
#: Depths of nesting that a parser just accepts or just refuses, or that break code which prints them.
_DEPTHS = st.one_of(st.integers(1, 100), st.integers(100, 1100), st.sampled_from([5_000, 40_000]))
_DEEP = st.tuples(st.sampled_from([("[", "]"), ('{"a":', "}")]), _DEPTHS).map(
    lambda drawn: drawn[0][0] * drawn[1] + "0" + drawn[0][1] * drawn[1]
)
_HERE = "\x1ahere\x1a"


def _any_of(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of them, by its place: Hypothesis writes down what it samples from, and these are long."""
    return st.integers(0, len(values) - 1).map(lambda place: values[place])


def _with_a_bad_value(good: list[tuple[str, dict[str, Any]]]) -> st.SearchStrategy[Shot]:
    """Good bodies with one value replaced or one field added."""
    texts = [(path, text) for path, body in good for text in _marked(body)]
    fields = [(path, json.dumps(body)[:-1]) for path, body in good]
    replaced = st.tuples(_any_of(texts), st.one_of(_any_of(_BAD), _DEEP)).map(
        lambda drawn: (drawn[0][0], drawn[0][1].replace(json.dumps(_HERE), drawn[1]))
    )
    added = st.tuples(_any_of(fields), _any_of(_BAD_NAMES), st.one_of(_any_of(_BAD), _DEEP)).map(
        lambda drawn: (drawn[0][0], f'{drawn[0][1]}, "{drawn[1]}": {drawn[2]}}}')
    )
    return st.one_of(replaced, replaced, added).map(lambda made: _post(made[0], made[1].encode()))


def _marked(value: Any) -> Iterator[str]:
    """The JSON of a value, once for each of its parts, with this part replaced by a mark."""
    for whole in _replaced(value):
        yield json.dumps(whole)


def _replaced(value: Any) -> Iterator[Any]:
    yield _HERE
    if isinstance(value, dict):
        for key, part in value.items():
            yield from (value | {key: other} for other in _replaced(part))
    if isinstance(value, list):
        for place, part in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in _replaced(part))


def _no_json(good: list[tuple[str, dict[str, Any]]]) -> st.SearchStrategy[Shot]:
    """Random bytes; good bodies cut off, in other encodings or with other media types; bodies around the size limit."""
    whole = _any_of([json.dumps(body).encode() for _, body in good])
    sizes = st.sampled_from([MAX_BODY_BYTES - 13, MAX_BODY_BYTES - 12, MAX_BODY_BYTES + 1, 2 * MAX_BODY_BYTES])
    contents = st.one_of(
        st.binary(max_size=2000),
        st.text(max_size=500).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.tuples(whole, st.integers(0, 200)).map(lambda drawn: drawn[0][: drawn[1]]),
        st.tuples(whole, st.sampled_from(["utf-16", "utf-32", "utf-7"])).map(
            lambda drawn: drawn[0].decode().encode(drawn[1])
        ),
        whole.map(lambda body: b"\xef\xbb\xbf" + body),
        whole.map(lambda body: body + body),
        sizes.map(lambda size: b'{"query": "%s"}' % (b"x" * size)),
        st.sampled_from(["[", "{", '{"a":', "[{", '"']).map(lambda opening: opening.encode() * 50_000),
    )
    types = st.sampled_from(
        [JSON, JSON, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "é", ""]
    )
    return st.tuples(st.sampled_from([RECOMMEND, EVENTS]), contents, types).map(
        lambda drawn: _post(drawn[0], drawn[1], drawn[2])
    )


def _post(path: str, content: bytes, media_type: str = JSON) -> Shot:
    return Shot(method="POST", path=path, content=content, headers={"Content-Type": media_type})
