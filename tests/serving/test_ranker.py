"""Requests that are ranked together do not suffer from one another."""

import shutil

import pyarrow as pa

from jobs.serve import load_live
from recsys.data.histories import shard_of
from recsys.serving.contracts import Fault, RecommendationRequest
from recsys.serving.ranker import _answer
from recsys.storage.filesystem import Storage
from recsys.storage.publish import require_latest


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
