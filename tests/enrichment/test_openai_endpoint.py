"""The back end `openai` against a real server: its errors, its limits, its tokens."""

import socket
import threading
import time
from collections import Counter
from typing import Any

import pytest

from recsys.enrichment.backends.backend import WriterNeeds
from recsys.enrichment.backends.openai_endpoint import OpenAIBackend, OpenAISettings
from recsys.enrichment.backends.registry import require_backend
from recsys.enrichment.config import EnrichConfig, ItemTextsConfig
from recsys.enrichment.request import TextReply, TextRequest, request_for
from recsys.errors import ConfigError
from tests.llm_endpoint import Endpoint, about_item, completion, facts_in, written

KEY = "sk-test-key"


def requests(num: int) -> list[TextRequest]:
    return [request_for({"text": f"Lamp {number}"}, ItemTextsConfig()) for number in range(num)]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def write(endpoint: Endpoint, num: int, **settings: Any) -> list[TextReply]:
    spec = OpenAISettings(model="tiny", base_url=endpoint.url, **settings)

    def no_encoder() -> Any:
        raise AssertionError

    needs = WriterNeeds(max_output_tokens=50, max_keywords=5, encoder=no_encoder)
    return OpenAIBackend().open(spec, needs).write(requests(num))


def test_replies_come_in_the_order_of_the_requests_with_their_tokens(endpoint: Endpoint) -> None:
    replies = write(endpoint, 20)
    assert [reply.text for reply in replies] == [
        f'{{"summary": "Bought for lamp {number}", "keywords": ["useful", "lamp {number}"]}}' for number in range(20)
    ]
    assert {(reply.input_tokens, reply.output_tokens, reply.error) for reply in replies} == {(10, 5, "")}
    body = endpoint.asked[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 50, 0.0)
    assert body["response_format"] == {"type": "json_object"}
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in str(endpoint.asked)


def test_options_for_other_endpoints(endpoint: Endpoint) -> None:
    write(endpoint, 1, json_mode=False, temperature=None, limit_name="max_completion_tokens", key_variable=None)
    assert set(endpoint.asked[0]) == {"model", "messages", "max_completion_tokens"}


def test_429_and_500_are_tried_again_after_the_time_that_the_server_names(endpoint: Endpoint) -> None:
    times: list[float] = []
    tries: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        times.append(time.monotonic())
        tries[facts_in(body)["text"]] += 1
        match tries[facts_in(body)["text"]]:
            case 1:
                return 429, {"Retry-After": "0.3"}, b'{"error": {"message": "slow down"}}'
            case 2:
                return 500, {"retry-after-ms": "10"}, b"oops"
        return about_item(body)

    endpoint.answer = answer
    replies = write(endpoint, 1)
    assert [reply.error for reply in replies] == [""]
    assert len(times) == 3
    assert times[1] - times[0] >= 0.3


def test_an_error_that_stays_is_the_error_of_its_item_alone(endpoint: Endpoint) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        match facts_in(body)["text"]:
            case "Lamp 1":
                return 503, {"retry-after-ms": "1"}, b""
            case "Lamp 2":
                return 400, {}, b'{"error": {"message": "bad"}}'
            case "Lamp 3":
                return 200, {}, b'{"choices": ['
            case "Lamp 4":
                return 200, {}, b'{"choices": []}'
            case "Lamp 5":
                return 200, {"Content-Type": "text/html"}, b"<html>proxy</html>"
            case "Lamp 6":
                return completion("no usage")
        return written("fine")

    endpoint.answer = answer
    replies = write(endpoint, 8, max_retries=1)
    odd = "an answer that is not of the protocol"
    assert [reply.error for reply in replies] == ["", "status 503", "status 400", odd, odd, odd, "", ""]
    assert replies[2].input_tokens == 0
    billed = requests(8)[3].most_input_tokens
    assert (replies[3].input_tokens, replies[3].output_tokens) == (billed, 50)  # it may have cost money
    assert (replies[6].input_tokens, replies[6].output_tokens) == (billed, 50)  # the server does not count


def test_a_slow_answer_is_given_up(endpoint: Endpoint) -> None:
    released = threading.Event()

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if facts_in(body)["text"] == "Lamp 0":
            released.wait(30)
        return written("fine")

    endpoint.answer = answer
    replies = write(endpoint, 3, max_retries=0, timeout_s=0.2)
    released.set()
    assert [reply.error for reply in replies] == ["no answer in time", "", ""]
    assert replies[0].output_tokens == 50


def test_an_endpoint_that_is_not_reached_costs_nothing() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        replies = write(Endpoint(f"http://127.0.0.1:{closed.getsockname()[1]}/v1"), 2, max_retries=1)
    assert {(reply.error, reply.input_tokens, reply.output_tokens) for reply in replies} == {("no connection", 0, 0)}


def test_tries_that_took_too_long_are_counted_too(endpoint: Endpoint) -> None:
    released, tries = threading.Event(), Counter[str]()

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        tries["all"] += 1
        if tries["all"] == 1:
            released.wait(30)
        return written("fine")

    endpoint.answer = answer
    (reply,) = write(endpoint, 1, max_retries=1, timeout_s=0.2)
    released.set()
    assert reply.error == ""
    assert (reply.input_tokens, reply.output_tokens) == (requests(1)[0].most_input_tokens + 10, 50 + 5)


def test_a_refused_key_ends_the_asking(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    endpoint.answer = lambda _: (401, {}, b'{"error": {"message": "Incorrect API key provided"}}')
    replies = write(endpoint, 50, concurrency=1)
    assert len(endpoint.asked) == 1
    assert {reply.error for reply in replies} == {"status 401", "status 401 for the model tiny; see enrich.settings"}
    assert "the rest waits for the next night" in caplog.text
    assert KEY not in caplog.text


def test_a_server_that_is_down_is_not_asked_for_every_item(endpoint: Endpoint) -> None:
    endpoint.answer = lambda _: (503, {}, b"")
    replies = write(endpoint, 100, concurrency=1, max_retries=0)
    assert len(endpoint.asked) == 20
    assert replies[-1].error == "not asked after 20 failures in a row"


@pytest.mark.parametrize("text", ["", "Sure, a lamp!", '{"summary": "cut o'])
def test_a_model_that_gives_no_readable_answer_is_not_paid_for_every_item(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    endpoint.answer = lambda _: completion(text, {"prompt_tokens": 10, "completion_tokens": 50})
    replies = write(endpoint, 100, concurrency=1)
    assert len(endpoint.asked) == 20
    assert {reply.error for reply in replies[:20]} == {""}, "they are refused, and not asked for again"
    assert replies[-1].error == "not asked after 20 answers in a row without a summary or keywords"
    assert "enrich.max_output_tokens" in caplog.text


def test_the_rate_limit_counts_requests_of_a_minute(endpoint: Endpoint) -> None:
    spec = OpenAISettings(model="tiny", base_url=endpoint.url, requests_per_minute=3, concurrency=4)
    needs: Any = WriterNeeds(max_output_tokens=50, max_keywords=5, encoder=lambda: None)  # type: ignore[arg-type,return-value]
    writer: Any = OpenAIBackend().open(spec, needs)
    writer.write(requests(3))
    assert len(endpoint.asked) == 3
    assert not writer._limiter.try_acquire("requests", blocking=False)


def test_a_missing_key_stops_the_night_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        OpenAIBackend().check(OpenAISettings(model="tiny"))
    OpenAIBackend().check(OpenAISettings(model="tiny", key_variable=None))


@pytest.mark.parametrize(
    "wrong", ["sk-secret-1234", "hf_secret1234", "https://me:secret1234@host/v1", "http://h/v1?key=secret1234"]
)
def test_a_key_in_the_config_is_refused_and_not_told(wrong: str) -> None:
    key = "base_url" if "://" in wrong else "key_variable"
    config = EnrichConfig(backend="openai", settings={"model": "tiny", key: wrong})
    with pytest.raises((ConfigError, ValueError), match=rf"enrich\.settings\.{key}: ") as error:
        require_backend(config)
    assert "secret" not in str(error.value)
