"""The plugins of docs/extending.md, run in one night by the command line, as a user of theirs would run it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import tiny_config
from tests.docs.pages import ROOT, blocks

PLUGINS = [block for block in blocks("python") if block.title]


@pytest.fixture(scope="module")
def night(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a night with all plugins of the page, and the last line that the job printed."""
    folder = tmp_path_factory.mktemp("extending")
    for block in PLUGINS:
        (folder / block.title).parent.mkdir(exist_ok=True)
        (folder / block.title).write_text(block.text, encoding="utf-8")
    config = tiny_config(
        shop,
        folder / "warehouse",
        plugins=[block.title.removesuffix(".py").replace("/", ".") for block in PLUGINS],
        rerank={"rules": {"max_per_category": {"most": 1}, "price_limit": {"most": 200.0}}},
    )
    config["inputs"]["items"]["attributes"] = ["title", "category", "price"]
    YAML(typ="safe", pure=True).dump(config, folder / "shop.yaml")
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs/nightly.py"), "--config", "shop.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])
