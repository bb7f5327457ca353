"""Events that the live service stored are in the histories of the next nightly run."""

import datetime as dt
import shutil

import pyarrow.dataset as ds
import requests

from recsys.pipeline.open_run import open_run
from recsys.pipeline.run_stages import run_stages
from recsys.pipeline.stages import INGEST_CATALOG, INGEST_EVENTS, SHUFFLE_HISTORIES
from recsys.pipeline.workers.cluster import cluster
from recsys.settings import decode_config
from tests.conftest import tiny_config


def test_a_user_of_the_feedback_has_a_history_with_its_items(service_url, service_storage, live, shop, tmp_path):
    items = live.catalog.item_ids.to_pylist()[:4]
    events = [{"event_id": f"loop-{item}", "user_id": "new-today", "item_id": item} for item in items]
    reply = requests.post(f"{service_url}/v1/events", json={"events": events}, timeout=30)
    assert reply.json() == {"accepted": len(items), "duplicates": 0}
    unknown = requests.get(f"{service_url}/v1/users/new-today/recommendations", timeout=30)
    assert unknown.status_code == 404

    storage = tmp_path / "warehouse"  # a copy, so that the service of the session keeps its run
    shutil.copytree(service_storage, storage)
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    run = open_run(decode_config(tiny_config(shop, storage) | {"date": tomorrow.isoformat()}))
    with cluster(min_cpus=1):
        run_stages(run, (INGEST_CATALOG, INGEST_EVENTS, SHUFFLE_HISTORIES))
    histories = ds.dataset(storage / "histories" / run.folder.run_id, format="parquet").to_table()
    (history,) = histories.filter(ds.field("user_id") == "new-today").to_pylist()
    assert sorted(history["item_ids"]) == history["seen_item_ids"] == items
    assert set(history["events"]) == {"interaction"}
