"""The real profiles on a part of the real files; skipped if the data is absent."""

import os
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from recsys.pipeline.lists.find_titles import find_titles
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest
from recsys.storage.manifest import read_manifest, verify
from recsys.storage.runs import RunFolder

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("RECSYS_DATA") or ROOT.parent / "shared" / "data").absolute()

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the data folder {DATA} is absent; RECSYS_DATA names it")

#: Small models with little training: the test is about the pipeline, not about quality, and the gate lets them pass.
SMALL = {
    "histories.shards": 2,
    "encoder.model": "null",
    "encoder.scratch.hidden_size": 32,
    "encoder.scratch.layers": 1,
    "encoder.scratch.pretrain_steps": 5,
    "ranker.hidden_size": 32,
    "ranker.layers": 1,
    "train.epochs": 1,
    "train.min_steps": 0,
    "train.refit": "false",
    "train.max_events_per_user": 50,
    "gate.min_users": 1_000_000,
}
#: The first nine days of November and of December: 16 of the 305 files, up to the profile's own date.
RETAIL = DATA / "online-retail" / "2011-1[12]-0*.csv"


@pytest.fixture(autouse=True)
def _data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(DATA))


@pytest.fixture
def run(run_job, tmp_path):
    """Run a profile cut down; answers its storage, its run, its lists and the records of its stages."""

    def run(profile: str, **settings: object) -> tuple[Storage, RunFolder, pa.Table, dict[str, Any]]:
        changed = {**SMALL, "storage": tmp_path / "warehouse", **settings}
        words = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
        code, answer = run_job("nightly", "--config", ROOT / "configs" / f"{profile}.yaml", *words)
        assert (code, answer["status"]) == (0, "published"), answer
        storage = Storage(str(tmp_path / "warehouse"))
        latest = read_latest(storage)
        assert latest is not None
        verify(storage, read_manifest(storage, latest))
        found = RunFolder(storage, answer["run_id"])
        lists = ds.dataset(storage.path(latest.path), format="parquet").to_table()
        return storage, found, lists, storage.read_json(found.metrics_path)["stages"]

    return run


def titles_of(storage: Storage, lists: pa.Table) -> dict[str, str]:
    latest = read_latest(storage)
    assert latest is not None
    return find_titles(RunFolder(storage, latest.run_id), lists["item_id"])


def test_online_retail_lists_every_customer_and_sets_aside_lines_without_one(run):
    # the profile leaves lines without a customer out; here they come through `where`, and go to the quarantine
    where = "not startswith(InvoiceNo, 'C') and Quantity > 0 and UnitPrice > 0"
    storage, folder, lists, stages = run(
        "online_retail",
        **{
            "inputs.events.path": RETAIL,
            "inputs.items.path": RETAIL,
            "inputs.events.where": where,
            "inputs.max_quarantine_rate": 0.5,
        },
    )
    with duckdb.connect() as connection:
        sold = (
            f"FROM read_csv('{RETAIL}', all_varchar = true) WHERE NOT starts_with(InvoiceNo, 'C') "
            "AND CAST(Quantity AS DOUBLE) > 0 AND CAST(UnitPrice AS DOUBLE) > 0"
        )
        customers = connection.execute(f"SELECT DISTINCT CustomerID {sold} AND CustomerID IS NOT NULL").fetchall()
        nobodys = connection.execute(f"SELECT count(*) {sold} AND CustomerID IS NULL").fetchall()[0][0]
    assert len(customers) > 500
    assert set(lists["user_id"].to_pylist()) == {customer for (customer,) in customers}
    assert stages["ingest"]["reasons"] == {"missing_user": nobodys}
    bad = ds.dataset(storage.path(folder.quarantine_dir)).to_table()
    assert pc.unique(bad["reason"]).to_pylist() == ["missing_user"]
    assert len(bad) == nobodys

    # of each product the name, taken from the lines
    titles = titles_of(storage, lists)
    assert set(titles) == set(lists["item_id"].to_pylist())
    catalog = ds.dataset(storage.path(folder.dir, "catalog.parquet")).to_table(filter=ds.field("item_id") == "22423")
    assert catalog["text"].to_pylist() == ["REGENCY CAKESTAND 3 TIER"]


def test_movielens_lists_every_user_with_film_titles(run):
    storage, folder, lists, stages = run("movielens")
    assert stages["ingest"]["accepted"] == 100_000
    assert stages["catalog"]["items"] == 1682
    assert stages["ingest"]["reasons"] == stages["catalog"]["reasons"] == {}
    assert set(lists["user_id"].to_pylist()) == {str(user) for user in range(1, 944)}
    titles = titles_of(storage, lists)
    assert set(titles) == set(lists["item_id"].to_pylist())
    catalog = ds.dataset(storage.path(folder.dir, "catalog.parquet")).to_table(filter=ds.field("item_id") == "1")
    assert catalog["text"].to_pylist() == ["Toy Story (1995) Animation Children's Comedy"]


@pytest.mark.parametrize("profile", ["online_retail", "movielens"])
def test_a_real_profile_is_planned_as_it_is(run_job, tmp_path, monkeypatch, profile):
    monkeypatch.chdir(tmp_path)  # its storage is relative
    code, answer = run_job("nightly", "--config", ROOT / "configs" / f"{profile}.yaml", "--dry-run")
    assert (code, answer["status"]) == (0, "planned")
    assert not list(tmp_path.iterdir())
