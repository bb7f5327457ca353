"""A small shop and the command line of the jobs, run in this process on the session's Ray."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import tiny_config

#: (exit code, the JSON of the last line on stdout)
RunJob = Callable[..., tuple[int, dict[str, Any]]]
WriteConfig = Callable[..., Path]


@pytest.fixture
def write_config(shop: Path, tmp_path: Path) -> WriteConfig:
    """Write a tiny config, by default with the storage `warehouse` in the test's folder."""

    def write(storage: str | Path | None = None, **sections: Any) -> Path:
        path = tmp_path / "config.yaml"
        with path.open("w") as stream:
            YAML(typ="safe", pure=True).dump(tiny_config(shop, storage or tmp_path / "warehouse", **sections), stream)
        return path

    return write


@pytest.fixture
def night_before(one_night: tuple[Path, dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """A copy of a finished night's storage where `write_config` puts it; its path is not part of the run id."""
    shutil.copytree(one_night[0], tmp_path / "warehouse")
    return one_night[1]


@pytest.fixture
def run_job(ray_cluster: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunJob:
    """`run_job("nightly", "--config", …)` as the command line does it, on the session's Ray."""

    def run(job: str, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", [f"{job}.py", *map(str, arguments)])
        capsys.readouterr()
        code = importlib.import_module(f"jobs.{job}").main()
        captured = capsys.readouterr()
        sys.stderr.write(captured.err)  # shown where the test fails
        return code, json.loads(captured.out.strip().splitlines()[-1])

    return run
