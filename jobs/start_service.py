"""The live service on Ray Serve: loads a published run, and starts the service."""

import io
import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import ray
from ray import serve
from ray.serve.schema import ServeDeploySchema
from ruamel.yaml import YAML

from recsys.config.live_service import ServeConfig
from recsys.errors import ConfigError
from recsys.pipeline.encoders.open_encoder import open_encoder
from recsys.pipeline.open_run import files_named, stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.load_variants import load_variants
from recsys.pipeline.stages import INGEST_EVENTS
from recsys.pipeline.stored.model_files import verify_model_files
from recsys.pipeline.stored.published_model import model_card
from recsys.pipeline.workers.quiet_engine import quiet_engine
from recsys.ranking.rules.expiry import expiry_times
from recsys.serving.auth import Keys
from recsys.serving.deployment import LOGGING, serve_application
from recsys.serving.haproxy_launcher import haproxy_environment
from recsys.serving.live_catalog import LiveCatalog
from recsys.serving.live_snapshot import LiveSnapshot
from recsys.serving.published_users import PublishedUsers
from recsys.serving.query_reader import QueryReader
from recsys.serving.snapshot_ranker import SnapshotRanker
from recsys.serving.user_template import UserTemplate
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, require_latest
from recsys.storage.lookup import KeyedFiles
from recsys.storage.manifest import read_manifest, verify_list_sizes
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table

APP = "recsys"
#: People wait for the replies, so the service has a higher priority than batch jobs (Ray gives workers niceness 15).
#: Serve's own proxy, where it is used, routes requests in the loop that receives them.
_ENVIRONMENT = {"RAY_worker_niceness": "0", "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0"}


def load_live(storage: Storage, latest: Latest, spec: ServeConfig | None = None) -> LiveSnapshot:
    """Load a published run for the service: on the CPU, and without exploration, which only the nightly lists have.

    Args:
        storage: Where the run is.
        latest: The run.
        spec: How searches are read; None: the default.

    Raises:
        InputError: a file is missing or damaged.
        NewerFormatError: a newer release published the run.
        ConfigError: its config has values that this release does not allow.
    """
    folder = RunFolder(storage, latest.run_id)
    with files_named(folder):
        return _load_live(stored_run(folder), latest, spec or ServeConfig())


def _load_live(run: Run, latest: Latest, spec: ServeConfig) -> LiveSnapshot:
    storage, manifest = run.storage, read_manifest(run.storage, latest)
    recommend = run.config.recommend.model_copy(update={"use_gpu": False, "cpus_per_worker": 1})
    config = run.config.model_copy(update={"recommend": recommend})
    live = Run(config=config, date=run.date, folder=run.folder)
    card = model_card(live, latest.model_id)
    verify_model_files(storage, manifest)
    with open_encoder(storage, config, card.encoder_id, card.encoder_model) as encoder:
        pass  # the encoder stays in memory after its files are closed
    variants = load_variants(live, latest.model_id, recommend, explore=False)
    snapshot = variants.default
    shards = [shard["name"].removesuffix(".parquet") for shard in manifest["shards"]]
    ranker = SnapshotRanker(
        variants=variants, config=recommend, encoder=encoder, max_events=config.histories.kept_events
    )
    catalog = read_table(storage, live.catalog_path, ["item_id", "text", "attributes"])
    queries = QueryReader(snapshot.titles, catalog, spec.price) if spec.understand_queries else None
    expiry = config.rerank.expiry
    users = config.inputs.users if ranker.reads_user_texts else None
    verify_list_sizes(storage, latest, manifest)
    return LiveSnapshot(
        latest=latest,
        catalog=LiveCatalog(snapshot.item_ids, snapshot.titles, catalog),
        users=PublishedUsers(
            num_shards=config.histories.shards,
            shards=frozenset(shards),
            lists=KeyedFiles(storage, {shard: f"{latest.path}/{shard}.parquet" for shard in shards}, "user_id"),
            histories=KeyedFiles(
                storage, {shard: f"{live.folder.histories_dir}/{shard}.parquet" for shard in shards}, "user_id"
            ),
        ),
        ranker=ranker,
        event_weights=_event_weights(live),
        queries=queries,
        num_similar=config.similar_items.top_k,
        expires_at=None if expiry is None else expiry_times(catalog, expiry)[0],
        user_template=None if users is None else UserTemplate(text=users.text, max_chars=users.max_text_chars),
    )


def _event_weights(run: Run) -> dict[str, float]:
    """Weights of the kinds of events, as the night had them: if it found no positive weight, 0 counts as 1."""
    weights = run.config.inputs.event_weights
    if not run.record(INGEST_EVENTS).weightless:
        return dict(weights)
    return {kind: weight or 1.0 for kind, weight in weights.items()}


def application(config: Config) -> serve.Application:
    """The Serve application, which loads published runs by `load_live`."""
    return serve_application(config, partial(load_live, spec=config.serve))


def start(config: Config) -> str:
    """Start the service on the Ray of this machine, or on a new Ray; returns the address.

    Raises:
        InputError: nothing is published.
        ConfigError: the keys file is wrong, or another program listens on the port.
    """
    Keys.load(config.serve.keys_file)
    require_latest(Storage(config.storage))
    spec = config.serve
    for name, value in (_ENVIRONMENT | haproxy_environment(spec.host, spec.max_queued)).items():
        os.environ.setdefault(name, value)  # read by the processes that `ray.init` starts
    quiet_engine()
    ray.init(ignore_reinit_error=True, log_to_driver=True)
    if not (os.environ.get("RAY_ADDRESS") or serve.status().proxies):
        # on another machine, or as Serve's own, the port may be taken
        require_free_port(spec.host, spec.port)
    serve.start(http_options={"host": spec.host, "port": spec.port}, logging_config=LOGGING)
    serve.run(application(config), name=APP, route_prefix="/")
    return f"http://{spec.host}:{spec.port}"


def stop() -> None:
    """Stop the service; requests in hand are finished."""
    serve.shutdown()  # type: ignore[no-untyped-call]


def require_free_port(host: str, port: int) -> None:
    """Raise ConfigError where another program listens: Ray would find it only after a minute, and not name the port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are over do not count
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"serve.host={host}, serve.port={port}: the service cannot listen there ({error}); stop the program that "
            "does, or set another port"
        ) from error


def deploy_file(config: Config, path: str, overrides: Sequence[str]) -> str:
    """YAML for `serve deploy` and for a RayService; ``path`` is the path of the config where Ray will run."""
    arguments: dict[str, Any] = {"config": path} | ({"set": list(overrides)} if overrides else {})
    application = {"name": APP, "route_prefix": "/", "import_path": "jobs.serve:app", "args": arguments}
    schema = {
        "proxy_location": "EveryNode",
        "http_options": {"host": config.serve.host, "port": config.serve.port},
        "logging_config": LOGGING,
        "applications": [application],
    }
    ServeDeploySchema(**schema)
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(schema, stream)
    return stream.getvalue()
