"""The live service over one small published night: loaded in this process, and answering over HTTP."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.serving.live import LiveSnapshot
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.publish import require_latest
from tests.conftest import MAX_IN_FLIGHT, free_ports, tiny_config


@pytest.fixture(scope="session")
def live(one_night: tuple[Path, dict[str, Any]]) -> LiveSnapshot:
    """The published night, loaded as the service loads it."""
    from jobs.serve import load_live

    storage = Storage(str(one_night[0]))
    return load_live(storage, require_latest(storage))


@pytest.fixture(scope="session")
def service_storage(one_night: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the night's warehouse, where the service may write."""
    folder = tmp_path_factory.mktemp("served") / "warehouse"
    shutil.copytree(one_night[0], folder)
    return folder


@pytest.fixture(scope="session")
def service_url(service_storage: Path, shop: Path, ray_cluster: None) -> Iterator[str]:
    """Address of the service, answering on the session's Ray."""
    from ray import serve

    from jobs.serve import start

    (port,) = free_ports(1)
    # a slow machine must not turn every answer into the one that is at hand
    settings = {"port": port, "refresh_s": 0.2, "deadline_ms": 30_000.0, "max_queued": MAX_IN_FLIGHT}
    os.environ.pop("RECSYS_KEYS", None)
    yield start(decode_config(tiny_config(shop, service_storage, serve=settings)))
    serve.shutdown()
