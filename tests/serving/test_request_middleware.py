"""Every request gets one line in the access log and a reply, whatever happens to it."""

import asyncio
import json
import logging

import pytest

from recsys.serving.request_middleware import RequestMiddleware

SCOPE = {"type": "http", "method": "GET", "path": "/somewhere", "headers": [(b"x-request-id", b"the-id")]}


async def no_body():
    return {"type": "http.request", "body": b"", "more_body": False}


def one_line(caplog) -> dict:
    (record,) = [record for record in caplog.records if record.name == "recsys.access"]
    return json.loads(record.message)


@pytest.fixture(autouse=True)
def access_log(caplog, monkeypatch):
    logger = logging.getLogger("recsys.access")
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO, logger="recsys.access")


def test_a_caller_who_closes_the_connection_is_logged_without_an_error(caplog):
    has_begun = asyncio.Event()

    async def never_answers(scope, receive, send):
        has_begun.set()
        await asyncio.Event().wait()

    async def close_early():
        sent = []
        asking = asyncio.create_task(RequestMiddleware(never_answers)(dict(SCOPE), no_body, sent.append))
        await has_begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return sent

    assert asyncio.run(close_early()) == []
    line = one_line(caplog)
    assert (line["status"], line.get("error")) == (499, None)


def test_an_unexpected_error_is_logged_and_the_reply_names_the_request(caplog):
    sent = []

    async def broken(scope, receive, send):
        raise KeyError("cup")

    async def keep(message):
        sent.append(message)

    asyncio.run(RequestMiddleware(broken)(dict(SCOPE), no_body, keep))
    assert sent[0]["status"] == 500
    assert dict(sent[0]["headers"])[b"x-content-type-options"] == b"nosniff"
    line = one_line(caplog)
    assert (line["status"], line["error"], line["request_id"]) == (500, "KeyError: 'cup'", "the-id")
    assert json.loads(sent[1]["body"])["error"]["message"].endswith("the-id")
