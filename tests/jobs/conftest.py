"""A small shop and the command line of the jobs, run in this process on the session's Ray."""

import datetime as dt
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recsys.data.synthetic import make_shop, write_shop

END = dt.date(2026, 11, 22)

#: (exit code, the JSON of the last line on stdout)
RunJob = Callable[..., tuple[int, dict[str, Any]]]
WriteConfig = Callable[..., Path]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(make_shop(num_users=300, num_items=80, num_days=40, seed=1, end=END), folder)
    return folder


@pytest.fixture
def write_config(shop: Path, tmp_path: Path) -> WriteConfig:
    """Write a config for tiny models over the shop; keyword arguments replace whole sections' keys."""

    def write(storage: str | Path | None = None, **sections: Any) -> Path:
        config: dict[str, Any] = {
            "storage": str(storage or tmp_path / "warehouse"),
            "date": END.isoformat(),
            "inputs": {
                "events": {"path": f"{shop}/events", "format": "csv", "columns": {"event": "event"}},
                "items": {
                    "path": f"{shop}/items.parquet",
                    "text": "{title}. {category}",
                    "columns": {"title": "title"},
                },
            },
            "histories": {"max_length": 20, "shards": 3},
            "encoder": {
                "scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 400, "pretrain_steps": 5}
            },
            "ranker": {"hidden_size": 16, "layers": 1, "heads": 2},
            "train": {"epochs": 4, "batch_size": 32, "learning_rate": 0.01},
            "recommend": {"top_k": 5, "candidates": 20, "num_workers": 2},
        }
        for name, values in sections.items():
            config[name] = {**config.get(name, {}), **values} if isinstance(values, dict) else values
        path = tmp_path / "config.yaml"
        with path.open("w") as stream:
            YAML(typ="safe", pure=True).dump(config, stream)
        return path

    return write


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
