"""The live service over one small published night: loaded in this process, and answering over HTTP."""

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.data.assignment import DEFAULT_VARIANT
from recsys.ranking.snapshot import Snapshot
from recsys.serving.live_snapshot import LiveSnapshot
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from tests.conftest import MAX_IN_FLIGHT, free_ports, tiny_config


def with_snapshot(live: LiveSnapshot, snapshot: Snapshot) -> LiveSnapshot:
    """The same service with another snapshot for users who are in no experiment."""
    variants = replace(live.ranker.variants, snapshots={DEFAULT_VARIANT: snapshot})
    return replace(live, ranker=replace(live.ranker, variants=variants))


class HeldSnapshot:
    """A loaded snapshot whose answers wait, once `hold` was called, until the test sets `may_go_on`."""

    def __init__(self, live: LiveSnapshot):
        self._live = live
        self.may_go_on, self.has_begun = threading.Event(), threading.Event()
        self.may_go_on.set()
        self.batches: list[int] = []
        """Requests of each batch since `hold`."""
        self.lengths: list[int | None] = []
        """The wanted length of every request that was answered."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)

    def hold(self) -> None:
        self.batches.clear()
        self.has_begun.clear()
        self.may_go_on.clear()

    def answer(self, requests: Any, now: Any) -> Any:
        self.batches.append(len(requests))
        self.has_begun.set()
        assert self.may_go_on.wait(60)
        answers = self._live.answer(requests, now)
        self.lengths += [request.k for request in requests]
        return answers


@pytest.fixture(scope="session")
def live(one_night: tuple[Path, dict[str, Any]]) -> LiveSnapshot:
    """The published night, loaded as the service loads it."""
    from jobs.start_service import load_live

    storage = Storage(str(one_night[0]))
    return load_live(storage, require_latest(storage))


@pytest.fixture(scope="session")
def service_storage(one_night: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the night's storage, where the service may write."""
    folder = tmp_path_factory.mktemp("served") / "warehouse"
    shutil.copytree(one_night[0], folder)
    return folder


@pytest.fixture(scope="session")
def service_url(service_storage: Path, shop: Path, ray_cluster: None) -> Iterator[str]:
    """Address of the one service of the session, on the session's Ray."""
    from ray import serve

    from jobs.start_service import start

    (port,) = free_ports(1)
    # a long deadline, so that a slow machine does not answer with popular items
    settings = {"port": port, "refresh_s": 0.2, "deadline_ms": 30_000.0, "max_queued": MAX_IN_FLIGHT}
    os.environ.pop("RECSYS_KEYS", None)
    yield start(decode_config(tiny_config(shop, service_storage, serve=settings)))
    serve.shutdown()
