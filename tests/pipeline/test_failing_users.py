"""Users whose lists end the worker or raise an error: they get popular items, and all other lists stay as they are."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest


@pytest.fixture
def night(one_night: tuple[Path, dict[str, Any]], tmp_path: Path) -> tuple[Path, str]:
    """A copy of a night, and the id of its run."""
    shutil.copytree(one_night[0], tmp_path / "warehouse")
    return tmp_path / "warehouse", one_night[1]["run_id"]


def rewrite(night: tuple[Path, str], rules: dict[str, list[str]], *settings: str) -> tuple[dict[str, Any], str]:
    """What `recommend` left or raised, and the log. The process joins the session's Ray, with workers of its own."""
    command = [sys.executable, "-m", "tests.pipeline.rewrite_lists", *map(str, night), json.dumps(rules), *settings]
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(command, env={**os.environ, "RAY_ADDRESS": address}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def lists_of(warehouse: Path) -> pa.Table:
    folder = require_latest(Storage(str(warehouse))).path
    return pa.concat_tables(pq.read_table(file) for file in sorted((warehouse / folder).glob("shard-*.parquet")))


def without(lists: pa.Table, users: list[str]) -> pa.Table:
    return lists.filter(pa.compute.invert(pa.compute.is_in(lists["user_id"], value_set=pa.array(users))))


def test_users_whose_lists_raise_get_popular_items_and_the_others_their_own(night: tuple[Path, str]) -> None:
    warehouse, run_id = night
    before = lists_of(warehouse)
    users = before["user_id"].unique().to_pylist()
    bad = [users[3], users[-1]]
    answer, log = rewrite(night, {"raises": bad})
    assert (answer["fallback_users"], answer["reasons"]) == (2, {"ranking_failed": 2})
    assert answer["users"] == len(users)
    after = lists_of(warehouse)
    assert without(after, bad).equals(without(before, bad))
    assert after["user_id"].unique().to_pylist() == users, "the order of the users stays"
    for user in bad:
        own = after.filter(pa.compute.equal(after["user_id"], user))
        assert own["source"].unique().to_pylist() == ["popularity"]
        assert own["rank"].to_pylist() == list(range(1, len(own) + 1))
        assert len(own) == 5
    files = sorted((warehouse / "runs" / run_id / "quarantine").glob("recommend-*.parquet"))
    rows = pa.concat_tables(pq.read_table(file) for file in files).to_pylist()
    assert sorted(json.loads(row["row"])["user_id"] for row in rows) == sorted(bad)
    assert {row["column"] for row in rows} == {"user_id"}
    assert all(row["reason"].startswith("ranking_failed: ValueError: no price for u") for row in rows)
    assert "2 users get popular items" in log
    assert not any(user in log for user in bad), "the log names no user"


def test_a_night_in_which_many_users_fail_ends_with_an_error(night: tuple[Path, str]) -> None:
    users = lists_of(night[0])["user_id"].unique().to_pylist()
    answer, log = rewrite(night, {"raises": users[::7]})
    assert answer["type"] == "EngineError"
    assert "recommend.max_failed_users" in answer["error"]
    assert "Traceback" not in log
    answer, _ = rewrite(night, {"raises": users[:1]}, "max_failed_users=0")
    assert "recommend: shard-0000" in answer["error"]
    assert "ValueError" in answer["error"]
