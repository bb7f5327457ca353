"""Requests that are ranked together do not suffer from one another, and no more wait than may."""

import asyncio
import shutil
import threading

import pyarrow as pa

from jobs.serve import load_live
from recsys.config.serve import ServeConfig
from recsys.data.histories import shard_of
from recsys.serving.batching import TOO_MANY, Ranker, _answer
from recsys.serving.contracts import Fault, RecommendationRequest
from recsys.serving.snapshots import Snapshots
from recsys.storage.filesystem import Storage
from recsys.storage.publish import read_latest, require_latest


def test_a_damaged_file_is_the_trouble_of_its_own_users_alone(one_night, tmp_path):
    shutil.copytree(one_night[0], tmp_path / "warehouse")
    storage = Storage(str(tmp_path / "warehouse"))
    live = load_live(storage, require_latest(storage))
    users = pa.array([f"u{number:05d}" for number in range(1, 30)])
    shard = shard_of(users, live.num_shards)
    hurt, sound = users[shard.tolist().index(0)].as_py(), users[shard.tolist().index(1)].as_py()
    damaged = tmp_path / "warehouse" / "histories" / live.latest.run_id / "shard-00000.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    requests = [RecommendationRequest(user_id=hurt), RecommendationRequest(user_id=sound), RecommendationRequest()]
    first, *others = _answer(live, [*requests, RecommendationRequest(filters={"nothing": "x"})])
    assert isinstance(first, Fault)
    assert first.code == "failed"
    assert [answer.strategy for answer in others[:2]] == ["precomputed", "popular"]
    assert others[2].field == "filters.nothing"


class Slow:
    """A night that answers when it is let, and remembers who was answered together."""

    def __init__(self, live):
        self._live = live
        self.may, self.begun, self.batches = threading.Event(), threading.Event(), []

    def __getattr__(self, name):
        return getattr(self._live, name)

    def answer(self, requests, now):
        self.batches.append(len(requests))
        self.begun.set()
        assert self.may.wait(60)
        return self._live.answer(requests, now)


def test_what_comes_while_others_are_ranked_is_ranked_together(live, one_night, ray_cluster):
    slow = Slow(live)

    async def ask():
        ranker = Ranker(str(one_night[0]), ServeConfig(max_batch_size=3, max_queued=5), lambda *_: slow)
        slow.may.set()
        await ranker.start()
        slow.batches.clear()
        slow.may.clear()
        slow.begun.clear()
        first = asyncio.create_task(ranker.rank(RecommendationRequest(k=1)))
        await asyncio.to_thread(slow.begun.wait, 60)
        rest = [asyncio.create_task(ranker.rank(RecommendationRequest(k=number))) for number in range(1, 6)]
        await asyncio.sleep(0)
        rest[1].cancel()  # whoever gives up is not ranked
        slow.may.set()
        return [await first, *await asyncio.gather(*rest, return_exceptions=True)]

    alone, one, gone, three, four, fifth = asyncio.run(ask())
    assert fifth == TOO_MANY, "one is ranked and four wait already"
    assert isinstance(gone, asyncio.CancelledError)
    assert [len(answer.items) for answer in (alone, one, three, four)] == [1, 1, 3, 4]
    assert slow.batches == [1, 2, 1]


def test_a_night_that_cannot_answer_is_not_swapped_in(live, one_night):
    class Broken(Slow):
        def answer(self, *_):
            raise KeyError("a file is gone")

    storage, broken = Storage(str(one_night[0])), True
    snapshots = Snapshots(storage, lambda *_: Broken(live) if broken else live)
    assert not snapshots.refresh()
    assert snapshots.current is None
    assert "a file is gone" in snapshots.fault
    broken = False
    assert snapshots.refresh()
    assert snapshots.current is live
    assert snapshots.current.latest == read_latest(storage)
