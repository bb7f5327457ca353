"""Feedback that the service gets today changes the lists of the next nightly run."""

import argparse
import datetime as dt
import shutil

import pyarrow.dataset as ds
import requests

from jobs.nightly import nightly
from recsys.settings import decode_config
from tests.conftest import tiny_config


def test_a_user_of_the_feedback_gets_a_list_without_the_items_of_the_feedback(
    service_url, service_storage, live, shop, tmp_path
):
    taken = live.catalog.item_ids.to_pylist()[:4]
    events = [{"event_id": f"loop-{item}", "user_id": "new-today", "item_id": item} for item in taken]
    kept = requests.post(f"{service_url}/v1/events", json={"events": events}, timeout=30)
    assert kept.json() == {"accepted": len(taken), "duplicates": 0}
    unknown = requests.get(f"{service_url}/v1/users/new-today/recommendations", timeout=30)
    assert unknown.status_code == 404

    storage = tmp_path / "warehouse"  # a copy, so that the session's service keeps its night
    shutil.copytree(service_storage, storage)
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    raw = tiny_config(shop, storage, train={"epochs": 1, "recent_epochs": 0}) | {"date": tomorrow.isoformat()}
    answer = nightly(decode_config(raw), argparse.Namespace(dry_run=False, force=False))
    assert answer["status"] == "published"
    lists = ds.dataset(answer["path"], format="parquet").to_table(filter=ds.field("user_id") == "new-today")
    assert len(lists) == 5
    assert not set(taken) & set(lists["item_id"].to_pylist())
