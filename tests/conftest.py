"""What every test needs: no look-up in the network, steady Hypothesis runs, one Ray for all that ask for it."""

import argparse
import datetime as dt
import logging
import os
import secrets
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings

from recsys.data.histories import shard_of
from recsys.data.synthetic.shop import make_shop, write_shop
from recsys.schema import CATALOG, RECOMMENDATIONS
from recsys.serving.haproxy_launcher import haproxy_environment
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import Shard, lists_folder, write_manifest
from recsys.storage.publish import publish
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table

#: The data date of the nights of tests.
END = dt.date(2026, 11, 22)
USERS = [f"u{number:05d}" for number in range(20)]
NUM_SHARDS = 3
#: Requests for lists that the live service of the tests has in hand at most.
MAX_IN_FLIGHT = 16

#: Names of the browser on the path.
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# Set before any library reads them, and inherited by the processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of many small processes only get in each other's way
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray asks for a token also in this machine; without this one it would write its own into the home directory.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

# A shell starts `make test &` of a script with Ctrl-C ignored, and so would every job that a test interrupts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("recsys", deadline=None, derandomize=True)
settings.load_profile("recsys")


#: The file that takes longest after the tests over `one_night`. With `-n` it starts beside them. It makes no lists, so
#: that in a fresh checkout only one process compiles what makes lists, and numba has kept it when the other needs it.
LONGEST = "pipeline/test_train.py"
#: Rooms whose tests take longest, since they start processes or compile. With `-n` they go next; what is quick fills
#: the end.
SLOW_ROOMS = ("faults", "jobs", "pipeline", "serving", "training")
#: Files of tests over `one_night`. With `-n` they share a process, so that this night is made once.
OVER_ONE_NIGHT = (
    "docs/test_python_tour.py",
    "benchmarks/test_replay.py",
    "jobs/test_compress.py",
    "jobs/test_nightly.py",
    "jobs/test_gates.py",
    "jobs/test_evaluate.py",
    "jobs/test_explain.py",
    "jobs/test_installed.py",
    "jobs/test_model_cards.py",
    "jobs/test_no_events.py",
    "jobs/test_publish.py",
    "jobs/test_tracking.py",
    "jobs/test_variant_lists.py",
    "jobs/test_small_shops.py",
    "pipeline/test_failing_users.py",
    "pipeline/test_read_titles.py",
    "serving/",
)


def group_of(nodeid: str) -> str:
    """What runs in one process of `pytest -n`: the tests over `one_night`, else those of a file."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return "one night" if path.startswith(OVER_ONE_NIGHT) else path


@pytest.hookimpl(optionalhook=True)  # pytest-xdist asks
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each group goes to one process. The marks that `--dist loadgroup` reads have no effect with pytest 9."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hold tests over `one_night` to the files named above; with `-n`, put what takes longest first."""
    for item in items:
        if "one_night" in getattr(item, "fixturenames", ()) and group_of(item.nodeid) != "one night":
            raise pytest.UsageError(f"{item.nodeid} is over one_night: add its file to OVER_ONE_NIGHT in {__file__}")
    if hasattr(config, "workerinput"):
        first = ("one night", LONGEST)
        groups = {item: group_of(item.nodeid) for item in items}
        slow = {item: item.path.parent.name in SLOW_ROOMS for item in items}
        items.sort(key=lambda item: first.index(groups[item]) if groups[item] in first else 3 - slow[item])


def free_ports(number: int) -> list[int]:
    """Ports of loopback, of those that the kernel gives out: above Ray's own ranges."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray of 3 CPUs in this machine, shared by the whole session; jobs join it.

    Workers that wait for a task are kept: else Ray ends all that are more than the free CPUs, also while a training or
    the service has most CPUs, and each new one imports the libraries again.
    """
    import ray

    from recsys.pipeline.workers.cluster import PASSIVE_WAIT

    # as `jobs/serve.py` and a job of its own set it before they start Ray
    os.environ.update(haproxy_environment("127.0.0.1", MAX_IN_FLIGHT) | PASSIVE_WAIT)
    kept = {"num_workers_soft_limit": 3}
    ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level=logging.ERROR, _system_config=kept)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published night of 20 users and 2 items a list in 3 shards, written by the parts that write a real one."""
    folder = tmp_path_factory.mktemp("shop") / "warehouse"
    run = RunFolder(Storage(str(folder)), "2026-11-22-0123456789ab")
    shard_of_user = shard_of(pa.array(USERS), NUM_SHARDS)
    shards: list[Shard] = []
    for number in range(NUM_SHARDS):
        users = [user for user, shard in zip(USERS, shard_of_user, strict=True) if shard == number]
        rows = [
            {"user_id": user, "rank": rank, "item_id": item, "score": 1.0 / rank, "source": "ranker"}
            | {"reason": "in line with your history", "variant": ""}
            for user in users
            for rank, item in ((1, "i0001"), (2, "i0002"))
        ]
        name = f"shard-{number:05d}.parquet"
        lists = pa.Table.from_pylist(rows, schema=RECOMMENDATIONS)
        stats = write_table(run.storage, f"{lists_folder(run)}/{name}", lists, RECOMMENDATIONS)
        shard = Shard(name=name, rows=stats.rows, users=len(users), bytes=stats.bytes, sha256=stats.sha256)
        shards.append(shard)
    items = [("i0001", "Oak [Desk] Lamp"), ("i0002", "Copper Vase"), ("i0003", "Unseen")]
    catalog = [
        {"item_id": item, "text": title, "available": True, "attributes": {"title": title}, "text_hash": item}
        for item, title in items
    ]
    write_table(run.storage, f"{run.dir}/catalog.parquet", pa.Table.from_pylist(catalog, schema=CATALOG), CATALOG)
    details: dict[str, Any] = {"model_id": f"ranker-{run.run_id}", "config": {"histories": {"shards": NUM_SHARDS}}}
    assert publish(run, write_manifest(run, shards, details), details["model_id"])
    return folder


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events and items of a small synthetic shop."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(make_shop(num_users=500, num_items=80, num_days=40, seed=5, end=END), folder)
    return folder


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
        "encoder": {
            "model": None,
            "scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 400, "pretrain_steps": 5},
        },
        "ranker": {"hidden_size": 16, "layers": 1, "heads": 2},
        "train": {
            "epochs": 4,
            "min_steps": 0,
            "recent_epochs": 1,
            "refit": False,
            "batch_size": 32,
            "learning_rate": 0.01,
            "cpus_per_worker": 1,
        },
        "recommend": {"top_k": 5, "candidates": 20},
    }
    for name, values in sections.items():
        config[name] = {**config.get(name, {}), **values} if isinstance(values, dict) else values
    return config


@pytest.fixture(scope="session")
def one_night(shop: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> tuple[Path, dict[str, Any]]:
    """The warehouse after one night, and what the job answered; tests take a copy."""
    from jobs.nightly import nightly  # Ray comes with it: most tests do without

    storage = tmp_path_factory.mktemp("one-night") / "warehouse"
    options = argparse.Namespace(dry_run=False, force=False)
    return storage, nightly(decode_config(tiny_config(shop, storage)), options)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium for the tests of pages."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on the path: apt-get install chromium, or name one: CHROMIUM=/path/to/chromium")
    return found


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
