"""The real profiles on a part of the real files, and searches in the live service; skipped if the data is absent.

The titles that a search must find were written down from the titles of Online Retail before any list was made. The
lists are no golden file, because they depend on the training and on the processor.
"""

import argparse
import datetime as dt
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pytest

from jobs.nightly import nightly
from jobs.start_service import load_live
from recsys.data.checks.row_filter import row_filter
from recsys.pipeline.lists.find_titles import find_titles
from recsys.serving.contracts import RecommendationRequest
from recsys.serving.live_snapshot import LiveSnapshot
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.manifest import read_manifest, verify
from recsys.storage.runs import RunFolder

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("RECSYS_DATA") or ROOT.parent / "shared" / "data").absolute()

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the data folder {DATA} is absent; RECSYS_DATA names it")

#: Small models with little training: the tests are about the pipeline, not about quality, and the gate lets them pass.
SMALL = {
    "histories.shards": 2,
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
#: What a sale is, but for the customer: the profile leaves lines without one out.
SOLD = "NOT starts_with(InvoiceNo, 'C') AND CAST(Quantity AS DOUBLE) > 0 AND CAST(UnitPrice AS DOUBLE) > 0"

NOW = dt.datetime(2011, 12, 10, 8, tzinfo=dt.UTC)
TOP = 10
#: Query → words (or beginnings of words); one of the first ten titles must contain all of them.
SEARCHES = {
    "red heart lantern": "HEART LANTERN",
    "alarm clock for the bedroom": "ALARM CLOCK",
    "christmas tree decoration": "CHRISTMAS TREE DECORATION",
    "umbrella for a child": "CHILD UMBRELLA",
    "hot water bottle": "HOT WATER BOTTLE",
    "lunch box with dinosaurs": "DINOSAUR LUNCH BOX",
    "welcome mat for the front door": "DOORMAT",
    "black crystal necklace": "BLACK CRYSTAL NECKLACE",
    "tea towels": "TEA TOWEL",
    "picnic basket": "PICNIC BASKET",
    "jewellery box": "JEWELLERY BOX",
    "colouring pencils": "COLOUR PENCIL",
    "cookie cutters": "COOKIE CUTTER",
    "sewing kit": "SEWING KIT",
    "apron for kids": "CHILDREN APRON",
    "russian doll": "BABUSHKA",
    "sticking plasters for a cut finger": "PLASTERS",
    "garden tools for children": "CHILDS GARDEN",
    "fridge magnets": "FRIDGE MAGNET",
    "bathroom scales": "BATHROOM SCALES",
}


class Night(NamedTuple):
    """A published night."""

    storage: Storage
    run: RunFolder
    lists: pa.Table
    stages: dict[str, Any]
    """What each stage recorded."""

    @property
    def titles(self) -> dict[str, str]:
        """The titles of the items that are in a list."""
        return find_titles(self.run, self.lists["item_id"])


RunProfile = Callable[..., Night]


@pytest.fixture(scope="module")
def run_profile(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> RunProfile:
    """Runs a night of a profile, cut down."""

    def run(profile: str, **settings: object) -> Night:
        storage = Storage(str(tmp_path_factory.mktemp(profile) / "warehouse"))
        changed = {**SMALL, "storage": storage.root, **settings}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RECSYS_DATA", str(DATA))
            config = load_config(
                ROOT / "configs" / f"{profile}.yaml", [f"{key}={value}" for key, value in changed.items()]
            )
        answer = nightly(config, argparse.Namespace(dry_run=False, force=False))
        assert answer["status"] == "published"
        latest = require_latest(storage)
        verify(storage, read_manifest(storage, latest))
        run = RunFolder(storage, answer["run_id"])
        lists = ds.dataset(storage.path(latest.path), format="parquet").to_table()
        return Night(storage, run, lists, storage.read_json(run.metrics_path)["stages"])

    return run


@pytest.fixture(scope="module")
def retail(run_profile: RunProfile) -> Night:
    """Online Retail with the real MiniLM: the whole catalog, and the sales of some days.

    The profile leaves lines without a customer out; here they come through `where`, and go to the quarantine.
    """
    where = "not startswith(InvoiceNo, 'C') and Quantity > 0 and UnitPrice > 0"
    changed = {"inputs.events.path": RETAIL, "inputs.events.where": where, "inputs.max_quarantine_rate": 0.5}
    return run_profile("online_retail", **changed, **{"ease.items": 500})


@pytest.fixture(scope="module")
def shop_live(retail: Night) -> LiveSnapshot:
    """The live service after the night."""
    return load_live(retail.storage, require_latest(retail.storage))


def test_online_retail_lists_every_customer_and_sets_aside_lines_without_one(retail: Night) -> None:
    with duckdb.connect() as connection:
        sold = f"FROM read_csv('{RETAIL}', all_varchar = true) WHERE {SOLD}"
        customers = connection.execute(f"SELECT DISTINCT CustomerID {sold} AND CustomerID IS NOT NULL").fetchall()
        nobodys = connection.execute(f"SELECT count(*) {sold} AND CustomerID IS NULL").fetchall()[0][0]
    assert len(customers) > 500
    assert set(retail.lists["user_id"].to_pylist()) == {customer for (customer,) in customers}
    assert retail.stages["ingest"]["reasons"] == {"missing_user": nobodys}
    bad = ds.dataset(retail.storage.path(retail.run.quarantine_dir)).to_table()
    assert pc.unique(bad["reason"]).to_pylist() == ["missing_user"]
    assert len(bad) == nobodys

    # of each product the name, taken from the lines
    assert set(retail.titles) == set(retail.lists["item_id"].to_pylist())
    path = retail.storage.path(retail.run.dir, "catalog.parquet")
    catalog = ds.dataset(path).to_table(filter=ds.field("item_id") == "22423")
    assert catalog["text"].to_pylist() == ["REGENCY CAKESTAND 3 TIER"]


def test_the_profile_of_online_retail_takes_the_sales_of_customers() -> None:
    path = DATA / "online-retail" / "2011-12-01.csv"
    where = load_config(ROOT / "configs" / "online_retail.yaml").inputs.events.where
    assert where is not None
    kinds = dict.fromkeys(("InvoiceNo", "Quantity", "UnitPrice", "CustomerID"), pa.string())
    options = pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=True)
    taken = pc.sum(row_filter(where).mask(pa.csv.read_csv(path, convert_options=options), path.name)).as_py()
    with duckdb.connect() as connection:
        sold = f"FROM read_csv('{path}', all_varchar = true) WHERE {SOLD} AND CustomerID IS NOT NULL"
        assert connection.execute(f"SELECT count(*) {sold}").fetchall() == [(taken,)]


def test_movielens_lists_every_user_with_film_titles(run_profile: RunProfile) -> None:
    night = run_profile("movielens", **{"encoder.model": "null"})
    assert night.stages["ingest"]["accepted"] == 100_000
    assert night.stages["catalog"]["items"] == 1682
    assert night.stages["ingest"]["reasons"] == night.stages["catalog"]["reasons"] == {}
    assert set(night.lists["user_id"].to_pylist()) == {str(user) for user in range(1, 944)}
    assert set(night.titles) == set(night.lists["item_id"].to_pylist())
    path = night.storage.path(night.run.dir, "catalog.parquet")
    catalog = ds.dataset(path).to_table(filter=ds.field("item_id") == "1")
    assert catalog["text"].to_pylist() == ["Toy Story (1995) Animation Children's Comedy"]


@pytest.mark.parametrize("profile", ["online_retail", "movielens"])
def test_a_real_profile_is_planned_as_it_is(run_job, tmp_path, monkeypatch, profile):
    monkeypatch.setenv("RECSYS_DATA", str(DATA))
    monkeypatch.chdir(tmp_path)  # its storage is relative
    code, answer = run_job("nightly", "--config", ROOT / "configs" / f"{profile}.yaml", "--dry-run")
    assert (code, answer["status"]) == (0, "planned")
    assert not list(tmp_path.iterdir())


def found(live: LiveSnapshot, query: str) -> list[str]:
    """The first titles."""
    answer = live.answer([RecommendationRequest(query=query, k=TOP)], NOW)[0]
    assert answer.strategy == "query"
    return [item.title for item in answer.items]


def holds(titles: Sequence[str], query: str) -> bool:
    """Whether one of the titles has the expected words."""
    return any(all(word in title for word in SEARCHES[query].split()) for title in titles)


@pytest.mark.parametrize("query", list(SEARCHES))
def test_a_search_finds_what_it_names(shop_live: LiveSnapshot, query: str) -> None:
    titles = found(shop_live, query)
    assert holds(titles, query), titles


def test_the_texts_alone_find_all_of_them(shop_live: LiveSnapshot) -> None:
    titles = np.asarray(shop_live.catalog.titles.to_pylist(), dtype=object)
    items = unit(shop_live.ranker.encoder.encode(titles.tolist()))
    best = np.argsort(-unit(shop_live.ranker.encoder.encode(list(SEARCHES))) @ items.T, axis=1)[:, :TOP]
    assert [query for query, top in zip(SEARCHES, best, strict=True) if not holds(titles[top], query)] == []


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_other_searches_find_other_things(shop_live: LiveSnapshot) -> None:
    """Else a list of what is popular would do."""
    lists = {tuple(found(shop_live, query)) for query in SEARCHES}
    assert len(lists) == len(SEARCHES)
