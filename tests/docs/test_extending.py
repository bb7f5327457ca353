"""The plugins of the pages: all of them in one night, by the command line, as their users run them."""

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from tests.conftest import tiny_config
from tests.docs.pages import ROOT, blocks

PAGES = ("docs/extending.md", "docs/language-model-that-writes.md")
PLUGINS = [block for block in blocks("python") if block.page in PAGES and block.title]
MODULES = [block.title.removesuffix(".py").replace("/", ".") for block in PLUGINS]
INPUTS = {"events": {"path": "events"}, "items": {"path": "items", "text": "{title}"}}

#: Decodes the configs on stdin, in a process of its own: what plugins register would stay.
DECODE = """
import json, sys
from recsys.settings import decode_config
for raw in json.load(sys.stdin):
    decode_config(raw)
"""


def run(folder: Path, *words: str, stdin: str = "") -> str:
    """Run Python in the folder of the plugins, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        input=stdin,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugins as modules."""
    folder = tmp_path_factory.mktemp("extending")
    for block in PLUGINS:
        (folder / block.title).parent.mkdir(exist_ok=True)
        (folder / block.title).write_text(block.text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def night(folder: Path, shop: Path) -> dict[str, Any]:
    """The stages' metrics of a night with all plugins, which reads its items by the format of the page."""
    config = tiny_config(
        shop,
        folder / "warehouse",
        plugins=MODULES,
        rerank={"rules": {"max_per_category": {"most": 1}, "price_limit": {"most": 100.0}}},
        gate={"metric": "map@10"},
    )
    pyarrow.feather.write_feather(pq.read_table(shop / "items.parquet"), folder / "items.feather")
    config["inputs"]["items"] |= {
        "path": str(folder / "items.feather"),
        "format": "arrow",
        "attributes": ["title", "category", "price"],
    }
    YAML(typ="safe", pure=True).dump(config, folder / "shop.yaml")
    answer = json.loads(run(folder, str(ROOT / "jobs/nightly.py"), "--config", "shop.yaml").splitlines()[-1])
    assert answer["status"] == "published"
    stages: dict[str, Any] = json.loads(Path(answer["metrics"]).read_text(encoding="utf-8"))["stages"]
    return stages


def test_the_page_shows_one_plugin_of_each_kind_and_more() -> None:
    registered = {
        kind
        for block in PLUGINS
        for kind in ("SIGNALS", "RULES", "METRICS", "FORMATS")
        if f"{kind}.register" in block.text
    }
    assert registered == {"SIGNALS", "RULES", "METRICS", "FORMATS"}


def test_the_night_weighs_the_signals(night: dict[str, Any]) -> None:
    for name in ("usual_price", "trend"):
        weights = {kind: night["fuse"][kind].get(name, 0.0) for kind in ("weights", "weights_short", "weights_session")}
        assert any(weights.values()), weights
        assert night["fuse"]["validation_alone"][name] > 0


def test_the_night_follows_the_rules(night: dict[str, Any], shop: Path) -> None:
    prices = pq.read_table(shop / "items.parquet")["price"].to_numpy()
    assert night["recommend"]["filtered"]["price_limit"] == (prices.astype(float) > 100).sum() > 0
    assert night["recommend"]["reranked"]["moved"]["max_per_category"] > 0


def test_the_gate_measures_by_the_metric(night: dict[str, Any]) -> None:
    assert night["gate"]["reason"].startswith("map@10 ")


def test_the_night_reads_the_format(night: dict[str, Any], shop: Path) -> None:
    assert night["catalog"]["rows"] == pq.read_metadata(shop / "items.parquet").num_rows


def test_lists_are_explained_by_the_signals(night: dict[str, Any], folder: Path) -> None:
    printed = run(folder, str(ROOT / "jobs/explain.py"), "--config", "shop.yaml", "u00007")
    lists = json.loads(printed.splitlines()[-1])["lists"]
    assert {"usual_price", "trend"} <= lists[0]["contributions"].keys()


def test_the_configs_of_the_page_decode(folder: Path) -> None:
    configs = [YAML(typ="safe", pure=True).load(block.text) for block in blocks("yaml") if "plugins:" in block.text]
    assert len(configs) >= 4
    run(folder, "-c", DECODE, stdin=json.dumps([{"inputs": INPUTS, **config} for config in configs]))


def test_the_example_of_the_metric_is_true() -> None:
    (block,) = [block for block in PLUGINS if "METRICS" in block.text]
    module = ModuleType("average_precision")
    exec(block.text.replace("METRICS.register", "print"), vars(module))  # noqa: S102 (our own page)
    results = doctest.testmod(module)
    assert results.attempted == 1
    assert results.failed == 0
