"""A whole night on an S3 server: its inputs, everything it writes, and Ray's own checkpoints."""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from recsys.data.synthetic.shop import make_shop, write_shop
from recsys.schema import HISTORIES, RECOMMENDATIONS
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest
from recsys.storage.manifest import read_manifest, verify
from recsys.storage.runs import RunFolder

ROOT = Path(__file__).parents[2]
BUCKET = "shop"


@pytest.fixture
def bucket(s3_client: Any) -> Any:
    """The client of a server with one empty bucket."""
    s3_client.create_bucket(Bucket=BUCKET)
    return s3_client


def run_night(config: Path) -> tuple[int, dict[str, Any]]:
    """The command line in a process of its own, with a Ray of its own that inherits this environment."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "jobs/nightly.py", "--config", config]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    sys.stderr.write(done.stderr)  # shown where the test fails
    check_output(done.stdout, done.stderr)
    return done.returncode, json.loads(done.stdout)


def check_output(stdout: str, stderr: str) -> None:
    """Stdout is the line of JSON. Every line on stderr is ours, and there are few of them but those of progress."""
    assert stdout.count("\n") == 1
    lines = stderr.splitlines()
    assert [line for line in lines if not re.match(r"\d\d:\d\d:\d\d  |          stage  ", line)] == []
    assert len([line for line in lines if not re.search(r": (epoch \d+|step \d+|[\d,]+) of ", line)]) <= 30


def test_a_night_reads_and_writes_s3(bucket, write_config, tmp_path):
    folder = tmp_path / "shop"
    shop = make_shop(num_users=200, num_items=60, num_days=20, seed=1, end=dt.date(2026, 11, 22))
    for path in write_shop(shop, folder, "jsonl"):
        bucket.upload_file(str(path), BUCKET, f"data/{path.relative_to(folder)}")
    config = write_config(
        f"s3://{BUCKET}/warehouse",
        inputs={
            "events": {"path": f"s3://{BUCKET}/data/events/*.jsonl", "format": "jsonl", "columns": {"event": "event"}},
            "items": {"path": f"s3://{BUCKET}/data/items.parquet", "text": "{title}. {category}"},
        },
        histories={"max_length": 20, "shards": 2},
        encoder={"train": "lora"},  # it is read from the bucket too, from a temporary copy
    )
    code, answer = run_night(config)
    assert (code, answer["status"]) == (0, "published")
    assert answer["path"].startswith(f"s3://{BUCKET}/warehouse/recommendations/run_date=2026-11-22/")

    storage = Storage(f"s3://{BUCKET}/warehouse")
    latest = read_latest(storage)
    assert latest is not None
    manifest = read_manifest(storage, latest)
    verify(storage, manifest)
    assert (manifest["run_id"], manifest["users"]) == (answer["run_id"], answer["users"])
    filesystem, root = storage.arrow()
    lists = ds.dataset(f"{root}/{latest.path}", filesystem=filesystem, format="parquet").to_table()
    histories = ds.dataset(
        f"{root}/{RunFolder(storage, latest.run_id).histories_dir}", filesystem=filesystem
    ).to_table()
    assert histories.schema.remove_metadata() == HISTORIES
    check_lists(lists, histories)

    assert storage.exists(f"models/{latest.model_id}/encoder/model.safetensors")

    # nothing of the night lies on this machine, and nothing in flight is left in the bucket
    assert not list(tmp_path.glob("**/LATEST.json"))
    left = {name.split("/")[0] for name in storage.list(f"runs/{latest.run_id}", recursive=True)}
    assert "stages" in left
    assert not left & {"train", "texts", "events", "versions"}

    before = bucket.list_objects_v2(Bucket=BUCKET)["Contents"]
    code, again = run_night(config)
    assert (code, again["status"], again["path"]) == (0, "already_published", answer["path"])
    assert bucket.list_objects_v2(Bucket=BUCKET)["Contents"] == before


def check_lists(lists: pa.Table, histories: pa.Table) -> None:
    """The contract of the lists in DESIGN.md."""
    assert lists.select(RECOMMENDATIONS.names).schema.remove_metadata() == RECOMMENDATIONS
    seen = dict(zip(*(histories[name].to_pylist() for name in ("user_id", "seen_item_ids")), strict=True))
    frame = lists.to_pandas()
    assert set(frame.user_id) == set(seen)
    for user, rows in frame.sort_values("rank").groupby("user_id"):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert list(zip(-rows.score, rows.item_id, strict=True)) == sorted(zip(-rows.score, rows.item_id, strict=True))
        assert not set(seen[user]) & set(rows.item_id)
        assert rows.item_id.is_unique
