"""A small shop and the command line of the jobs, run in this process on the session's Ray."""

import argparse
import datetime as dt
import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jobs.nightly import nightly
from recsys.config import decode_config

END = dt.date(2026, 11, 22)

#: (exit code, the JSON of the last line on stdout)
RunJob = Callable[..., tuple[int, dict[str, Any]]]
WriteConfig = Callable[..., Path]


def tiny_config(shop: Path, storage: str | Path, **sections: Any) -> dict[str, Any]:
    """Tiny models over the shop; keyword arguments replace whole sections' keys."""
    config: dict[str, Any] = {
        "storage": str(storage),
        "date": END.isoformat(),
        "inputs": {
            "events": {"path": f"{shop}/events", "format": "csv", "columns": {"event": "event"}},
            "items": {"path": f"{shop}/items.parquet", "text": "{title}. {category}", "columns": {"title": "title"}},
        },
        "histories": {"max_length": 20, "shards": 3},
        "encoder": {"scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 400, "pretrain_steps": 5}},
        "ranker": {"hidden_size": 16, "layers": 1, "heads": 2},
        "train": {
            "epochs": 4,
            "min_steps": 0,
            "recent_epochs": 1,
            "refit": False,
            "batch_size": 32,
            "learning_rate": 0.01,
        },
        "recommend": {"top_k": 5, "candidates": 20, "num_workers": 2},
    }
    for name, values in sections.items():
        config[name] = {**config.get(name, {}), **values} if isinstance(values, dict) else values
    return config


@pytest.fixture
def write_config(shop: Path, tmp_path: Path) -> WriteConfig:
    """Write a tiny config, by default with the storage `warehouse` in the test's folder."""

    def write(storage: str | Path | None = None, **sections: Any) -> Path:
        path = tmp_path / "config.yaml"
        with path.open("w") as stream:
            YAML(typ="safe", pure=True).dump(tiny_config(shop, storage or tmp_path / "warehouse", **sections), stream)
        return path

    return write


@pytest.fixture(scope="session")
def one_night(shop: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> tuple[Path, dict[str, Any]]:
    """The warehouse after one night, and what the job answered; tests take a copy."""
    storage = tmp_path_factory.mktemp("one-night") / "warehouse"
    options = argparse.Namespace(dry_run=False, force=False)
    return storage, nightly(decode_config(tiny_config(shop, storage)), options)


@pytest.fixture
def night_before(one_night: tuple[Path, dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """A copy of that warehouse where `write_config` expects one: the storage is no part of a night's name."""
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


@pytest.fixture
def s3_client(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """A client of an empty S3 server; the environment, as the processes inherit it, leads there."""
    import boto3
    from moto.server import ThreadedMotoServer

    caplog.set_level("WARNING", "werkzeug")  # else every request is shown where the test fails
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    yield client
    client.close()
    server.stop()
