"""A storage that does not answer, or refuses, holds up nobody for long; the storage is a real S3 server."""

import asyncio
import logging
from concurrent.futures import wait
from dataclasses import replace

import pytest

from recsys.config.live_service import ServeConfig
from recsys.schema import RECOMMENDATIONS
from recsys.serving.contracts import RecommendationRequest
from recsys.serving.live_ranker import UNREADABLE, LiveRanker, answer_batch
from recsys.serving.timely_rows import TimelyRows, UnreadableError
from recsys.storage.filesystem import Storage
from recsys.storage.lookup import KeyedFiles
from recsys.storage.tables import write_table
from tests.faults.flaky_s3 import BUCKET, environment_of, faulty_s3
from tests.storage.test_lookup import lists

USERS = ["ann", "bob", "cid", "dan"]


@pytest.fixture
def server(monkeypatch):
    with faulty_s3() as server:
        for name, value in environment_of(server).items():
            monkeypatch.setenv(name, value)
        yield server
        server.answers.set()


@pytest.fixture
def files(server):
    storage = Storage(f"s3://{BUCKET}/shop")
    for user in USERS:
        write_table(storage, f"{user}.parquet", lists([user]), RECOMMENDATIONS)
    return KeyedFiles(storage, {user: f"{user}.parquet" for user in USERS}, "user_id")


def test_while_look_ups_are_late_no_more_are_begun(server, files, caplog):
    caplog.set_level(logging.INFO)
    ann, bob, cid, dan = USERS
    assert len(TimelyRows(wait_s=60).of(files, ann, ann)) == 20
    timely = TimelyRows(wait_s=0.01)
    server.answers.clear()
    for user in (bob, cid):
        with pytest.raises(UnreadableError, match=r"did not answer in 0\.01 s"):
            timely.of(files, user, user)
    late, before = list(timely._late), server.num_requests
    with pytest.raises(UnreadableError, match="the storage does not answer"):
        timely.of(files, dan, dan)
    assert len(timely.of(files, ann, ann)) == 20, "what was read before is still there"
    assert server.num_requests <= before + len(late), "nothing was asked of the storage for the third one"
    server.answers.set()
    assert not wait(late, timeout=60).not_done
    assert len(timely.of(files, bob, bob)) == 20, "read by the late look-up"
    timely._wait_s = 60
    assert len(timely.of(files, dan, dan)) == 20
    assert [record.getMessage() for record in caplog.records if record.name == "recsys.serving.timely_rows"] == [
        "the storage does not answer, so users are answered without what it has of them",
        "the storage answers again",
    ]


def test_a_storage_that_refuses_is_left_alone_for_a_while(server, files, caplog):
    ann, bob = USERS[:2]
    timely = TimelyRows(wait_s=60, pause_s=60)
    server.refuse("ExpiredToken", 0)
    with pytest.raises(UnreadableError, match="expired"):
        timely.of(files, ann, ann)
    asked = server.num_requests
    with pytest.raises(UnreadableError, match="does not answer"):
        timely.of(files, bob, bob)
    assert server.num_requests == asked
    assert caplog.text.count("users are answered without what it has of them") == 1
    server.refuse("", 0)
    timely._paused_until = 0.0
    assert len(timely.of(files, bob, bob)) == 20


def test_users_of_a_storage_that_is_away_are_answered_as_new_ones(server, live, one_night):
    """And others as always. A look-up of the published list alone is an error that passes."""
    away = Storage(f"s3://{BUCKET}/night")
    away.upload_folder(one_night[0], "all")
    shards, latest = live.users.shards, live.latest
    users = replace(
        live.users,
        histories=KeyedFiles(
            away, {name: f"all/histories/{latest.run_id}/{name}.parquet" for name in shards}, "user_id"
        ),
        lists=KeyedFiles(away, {name: f"all/{latest.path}/{name}.parquet" for name in shards}, "user_id"),
        timely=TimelyRows(wait_s=0.01),
    )
    hurt = replace(live, users=users)
    server.answers.clear()
    known = RecommendationRequest(user_id="u00001", k=3)
    alone, *others = answer_batch(hurt, [known, RecommendationRequest(k=3), known])
    assert alone.warnings == ["user_id: what the run has of this user cannot be read now"]
    assert [answer.strategy for answer in (alone, *others)] == ["popular"] * 3
    assert others[0].warnings == []
    assert len(alone.items) == 3

    async def look_up():
        ranker = LiveRanker(str(one_night[0]), ServeConfig(), lambda *_: hurt)
        await ranker.start()
        return [await ranker.published_list("u00001", 3), await ranker.explain_user("u00001")]

    assert asyncio.run(look_up()) == [UNREADABLE] * 2
    server.answers.set()
    assert not wait(users.timely._late, timeout=60).not_done, (
        "else they outlive the server, and the tests wait for them"
    )
