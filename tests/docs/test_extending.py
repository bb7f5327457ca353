"""The plugins of docs/extending.md: all of them in one night, by the command line, as users run theirs."""

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.feather as feather
import pytest
from ruamel.yaml import YAML

from recsys.data.cells import as_text  # noqa: F401
from tests.conftest import tiny_config
from tests.docs.pages import ROOT, blocks

PLUGINS = [block for block in blocks("python") if block.title]
MODULES = [block.title.removesuffix(".py").replace("/", ".") for block in PLUGINS]


def run(folder: Path, *words: str) -> str:
    """Run a Python command in the folder of the plugins and return what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
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
    """The last line of a night with all plugins, which reads its items by the format of the page."""
    config = tiny_config(
        shop,
        folder / "warehouse",
        plugins=MODULES,
        rerank={"rules": {"max_per_category": {"most": 1}, "price_limit": {"most": 100.0}}},
        gate={"metric": "map@10"},
    )
    feather.write_feather(feather_items(shop), folder / "items.feather")
    config["inputs"]["items"] |= {
        "path": str(folder / "items.feather"),
        "format": "arrow",
        "attributes": ["title", "category", "price"],
    }
    YAML(typ="safe", pure=True).dump(config, folder / "shop.yaml")
    answer: dict[str, Any] = json.loads(run(folder, str(ROOT / "jobs/nightly.py"), "--config", "shop.yaml").splitlines()[-1])
    return answer


def test_a_night_runs_with_all_plugins(folder: Path, night: dict[str, Any]) -> None:
    assert night["status"] == "published"
    metrics = json.loads(Path(night["metrics"]).read_text(encoding="utf-8"))["stages"]
    print(json.dumps(metrics, indent=1)[:6000])
