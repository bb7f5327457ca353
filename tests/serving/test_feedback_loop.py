"""What the service is told today is in the lists of tonight."""

import argparse
import datetime as dt
import shutil

import pyarrow.dataset as ds
import requests

from jobs.nightly import nightly
from recsys.settings import decode_config
from tests.conftest import tiny_config


def test_who_was_told_of_has_a_list_and_what_they_took_is_not_in_it(service_url, service_storage, live, shop, tmp_path):
    taken = live.snapshot.item_ids.to_pylist()[:4]
    events = [{"event_id": f"loop-{item}", "user_id": "told-today", "item_id": item} for item in taken]
    kept = requests.post(f"{service_url}/v1/events", json={"events": events}, timeout=30)
    assert kept.json() == {"accepted": len(taken), "duplicates": 0}
    unknown = requests.get(f"{service_url}/v1/users/told-today/recommendations", timeout=30)
    assert unknown.status_code == 404

    storage = tmp_path / "warehouse"  # a copy, so that the session's service keeps its night
    shutil.copytree(service_storage, storage)
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    raw = tiny_config(shop, storage, train={"epochs": 1, "recent_epochs": 0}) | {"date": tomorrow.isoformat()}
    answer = nightly(decode_config(raw), argparse.Namespace(dry_run=False, force=False))
    assert answer["status"] == "published"
    lists = ds.dataset(answer["path"], format="parquet").to_table(filter=ds.field("user_id") == "told-today")
    assert len(lists) == 5
    assert not set(taken) & set(lists["item_id"].to_pylist())
