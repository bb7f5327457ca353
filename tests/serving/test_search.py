"""Searches in plain words over a real catalog find the named items, with the live path and the real MiniLM.

The expected titles were written down from the titles of Online Retail before any list was made. The lists are no golden
file, because they depend on the training and on the processor.
"""

import argparse
import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.serving.contracts import RecommendationRequest
from recsys.serving.live_snapshot import LiveSnapshot
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("RECSYS_DATA") or ROOT.parent / "shared" / "data")
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


@pytest.fixture(scope="module")
def shop_live(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> LiveSnapshot:
    """The whole catalog of Online Retail, and a night that learned the last days of sales from it, quickly."""
    if not (DATA / "online-retail").is_dir():
        pytest.skip(f"no Online Retail in {DATA}; RECSYS_DATA names the folder")
    from jobs.nightly import nightly
    from jobs.serve import load_live

    quick: dict[str, Any] = {
        "storage": tmp_path_factory.mktemp("searched") / "warehouse",
        "inputs.events.path": f"{DATA}/online-retail/2011-12-*.csv",
        "inputs.items.path": f"{DATA}/online-retail",
        "histories.shards": 2,
        "ease.items": 500,
        "ranker.hidden_size": 32,
        "ranker.layers": 1,
        "train.epochs": 1,
        "train.min_steps": 0,
        "train.recent_epochs": 0,
        "train.refit": "false",
        "train.cpus_per_worker": 1,
        "gate.holdout_days": 2,
        "gate.min_users": 1_000_000,
        "recommend.top_k": TOP,
    }
    config = load_config(ROOT / "configs" / "online_retail.yaml", [f"{key}={value}" for key, value in quick.items()])
    answer = nightly(config, argparse.Namespace(dry_run=False, force=False))
    assert answer["status"] == "published"
    storage = Storage(config.storage)
    return load_live(storage, require_latest(storage))


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
