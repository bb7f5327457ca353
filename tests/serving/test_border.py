"""What every request passes counts each one once, whatever becomes of it."""

import asyncio
import json
import logging

import pytest

from recsys.serving.border import Border

SCOPE = {"type": "http", "method": "GET", "path": "/somewhere", "headers": []}


async def nothing_more():
    return {"type": "http.request", "body": b"", "more_body": False}


def one_line(caplog) -> dict:
    (record,) = [record for record in caplog.records if record.name == "recsys.access"]
    return json.loads(record.message)


@pytest.fixture(autouse=True)
def access_log(caplog, monkeypatch, ray_cluster):
    logger = logging.getLogger("recsys.access")
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO, logger="recsys.access")


def test_who_hangs_up_is_no_fault_of_ours(caplog):
    begun = asyncio.Event()

    async def late(scope, receive, send):
        begun.set()
        await asyncio.Event().wait()

    async def hang_up():
        sent = []
        asking = asyncio.create_task(Border(late)(dict(SCOPE), nothing_more, sent.append))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return sent

    assert asyncio.run(hang_up()) == []
    assert one_line(caplog)["status"] == 499


def test_an_error_of_ours_is_told_and_logged(caplog):
    sent = []

    async def broken(scope, receive, send):
        raise KeyError("cup")

    async def keep(message):
        sent.append(message)

    asyncio.run(Border(broken)(dict(SCOPE), nothing_more, keep))
    assert sent[0]["status"] == 500
    line = one_line(caplog)
    assert (line["status"], line["error"]) == (500, "KeyError: 'cup'")
    assert json.loads(sent[1]["body"])["error"]["message"].endswith(line["request_id"])
