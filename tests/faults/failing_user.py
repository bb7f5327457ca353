"""Some users end the worker that makes their lists, or make it fail, by a defect in a plugin."""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from tests.faults.findings import LostError, TracebackError
from tests.faults.shop import Attempt, Shop

#: What the plugin does to a user.
_WAYS = ("dies", "raises")
_REASONS = {"dies": "worker_died", "raises": "ranking_failed"}


def leave_a_user_out(shop: Shop, number: int) -> None:
    """The lists of a night are written again, and one user fails, who gets popular items."""
    attempt = shop.attempt(f"user-{number}", shop.undisturbed)
    before, way = _lists(attempt), _WAYS[number % 2]
    users = before["user_id"].unique().to_pylist()
    user = users[number * 7 % len(users)]
    answer = _rewrite(attempt, {way: [user]})
    if (answer.get("fallback_users"), answer.get("reasons")) != (1, {_REASONS[way]: 1}):
        raise LostError(f"{attempt.root}: {user}: {answer}")
    after = _lists(attempt)
    if not _without(after, [user]).equals(_without(before, [user])):
        raise LostError(f"{attempt.root}: the lists of other users changed when {user} failed")
    own = after.filter(pc.equal(after["user_id"], user))
    if not len(own) or set(own["source"].to_pylist()) != {"popularity"}:
        raise LostError(f"{attempt.root}: {user} has no list of popular items: {own.to_pylist()}")
    rows = pq.read_table(next(attempt.root.glob("runs/*/quarantine/recommend-*.parquet"))).to_pylist()
    if [json.loads(row["row"])["user_id"] for row in rows] != [user] or not rows[0]["reason"].startswith(_REASONS[way]):
        raise LostError(f"{attempt.root}: {user} is not in quarantine with the reason: {rows}")


def stop_when_many_fail(shop: Shop, number: int) -> None:
    """More users fail than may: the night ends with an error that says what to do."""
    attempt = shop.attempt(f"users-{number}", shop.undisturbed)
    users = _lists(attempt)["user_id"].unique().to_pylist()
    answer = _rewrite(attempt, {"dies": users[number % 3 :: 3]})
    if answer.get("type") != "EngineError" or "recommend.max_failed_users" not in answer["error"]:
        raise TracebackError(f"{attempt.root}: {answer}")


def _rewrite(attempt: Attempt, rules: dict[str, list[str]]) -> dict[str, Any]:
    """What the stage left or raised, in a process of its own with a Ray of its own, since a plugin stays."""
    run_id = require_latest(Storage(str(attempt.root))).run_id
    command = [sys.executable, "-m", "tests.faults.rewrite_lists", str(attempt.root), run_id, json.dumps(rules)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or "Traceback" in done.stderr:
        raise TracebackError(f"{attempt.root}: exit code {done.returncode}: {done.stderr[-3000:]}")
    if named := [user for users in rules.values() for user in users if user in done.stderr]:
        raise LostError(f"{attempt.root}: the log names the user {named[0]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _lists(attempt: Attempt) -> pa.Table:
    folder = attempt.root / require_latest(Storage(str(attempt.root))).path
    return pa.concat_tables(pq.read_table(file) for file in sorted(folder.glob("shard-*.parquet")))


def _without(lists: pa.Table, users: Collection[str]) -> pa.Table:
    return lists.filter(pc.invert(pc.is_in(lists["user_id"], value_set=pa.array(users))))
