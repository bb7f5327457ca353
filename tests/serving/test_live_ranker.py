"""Requests that are ranked together do not disturb each other, and no more of them wait than the config allows."""

import asyncio
import shutil

import pyarrow as pa

from jobs.start_service import load_live
from recsys.config.live_service import ServeConfig
from recsys.data.histories import shard_of
from recsys.serving.contracts import RecommendationRequest
from recsys.serving.live_ranker import NOT_READY, TOO_MANY_REQUESTS, LiveRanker, answer_batch
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, require_latest
from tests.serving.conftest import HeldSnapshot


def test_users_of_a_damaged_file_are_answered_without_it(one_night, tmp_path, caplog):
    shutil.copytree(one_night[0], tmp_path / "warehouse")
    storage = Storage(str(tmp_path / "warehouse"))
    live = load_live(storage, require_latest(storage))
    users = pa.array([f"u{number:05d}" for number in range(1, 30)])
    shard = shard_of(users, live.users.num_shards).tolist()
    hurt, sound = users[shard.index(0)].as_py(), users[shard.index(1)].as_py()
    damaged = tmp_path / "warehouse" / "histories" / live.latest.run_id / "shard-00000.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    requests = [RecommendationRequest(user_id=hurt), RecommendationRequest(user_id=sound), RecommendationRequest()]
    first, *others = answer_batch(live, [*requests, RecommendationRequest(filters={"nothing": "x"})])
    assert (first.strategy, first.warnings) == (
        "popular",
        ["user_id: what the run has of this user cannot be read now"],
    )
    assert "users are answered without their rows in it" in caplog.text
    assert [answer.strategy for answer in others[:2]] == ["precomputed", "popular"]
    assert others[2].field == "filters.nothing"


def test_requests_that_arrive_during_ranking_are_ranked_together_and_too_many_are_refused(live, one_night):
    held = HeldSnapshot(live)

    async def run():
        ranker = LiveRanker(str(one_night[0]), ServeConfig(max_batch_size=3, max_queued=5), lambda *_: held)
        await ranker.start()
        held.hold()
        first = asyncio.create_task(ranker.recommend(RecommendationRequest(k=1)))
        await asyncio.to_thread(held.has_begun.wait, 60)
        rest = [asyncio.create_task(ranker.recommend(RecommendationRequest(k=number))) for number in range(1, 6)]
        await asyncio.sleep(0)
        held.may_go_on.set()
        return [await first, *await asyncio.gather(*rest)]

    *answers, refused = asyncio.run(run())
    assert refused == TOO_MANY_REQUESTS, "one request is being ranked and four are waiting"
    assert [len(answer.items) for answer in answers] == [1, 1, 2, 3, 4]
    assert held.batches == [1, 3, 1]


def test_without_a_published_run_every_request_gets_not_ready(tmp_path):
    async def run():
        ranker = LiveRanker(str(tmp_path), ServeConfig(), load_live)
        await ranker.start()
        asked = ranker.recommend(RecommendationRequest()), ranker.published_list("u", 3), ranker.find_items("x", 3)
        return [await one for one in asked], ranker.state()

    answers, state = asyncio.run(run())
    assert answers == [NOT_READY] * 3
    assert state == {"ready": False, "run_id": None, "published_at": None, "fault": None}


def test_a_caller_without_a_key_learns_that_there_is_a_fault_but_no_address(tmp_path):
    Storage(str(tmp_path)).write_bytes(LATEST, b"{")

    async def run():
        ranker = LiveRanker(str(tmp_path), ServeConfig(), load_live)
        await ranker.start()
        return ranker.state()["fault"], ranker.state(details=False)["fault"]

    known, unknown = asyncio.run(run())
    assert str(tmp_path) in known
    assert unknown is not None
    assert str(tmp_path) not in unknown
