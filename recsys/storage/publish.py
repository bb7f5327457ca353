"""Publishing a night: manifest last, then the pointer moves; it knows of lists only their files, sizes and hashes."""

import dataclasses
import datetime as dt
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from recsys.errors import ConfigError, InputError
from recsys.schema import SCHEMA_VERSION
from recsys.storage.filesystem import Storage, to_json
from recsys.storage.runs import RunFolder

LATEST = "recommendations/LATEST.json"
MANIFEST = "_MANIFEST.json"

_PACKAGES = (
    "recsys", "ray", "torch", "transformers", "tokenizers", "safetensors", "deepspeed", "peft",
    "numpy", "pandas", "pyarrow", "pydantic", "fsspec", "s3fs",
)  # fmt: skip


class Shard(TypedDict):
    """One file of lists in a manifest; `name` is relative to the night's folder."""

    name: str
    rows: int
    users: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The pointer that readers follow; `path` is the night's folder, relative to the storage root."""

    run_id: str
    run_date: dt.date
    path: str
    model_id: str
    published_at: str
    manifest_sha256: str


def lists_folder(run: RunFolder) -> str:
    """Where the run's lists are written, relative to the storage root."""
    return f"recommendations/run_date={run.date.isoformat()}/run_id={run.run_id}"


def unpublished_run(run: RunFolder) -> RunFolder:
    """The run itself, or where its manifest is out already, the first free `-2`, `-3` … of it.

    This is what `--force` works on: files that a reader may hold open are never written again.
    """
    attempt, number = run, 1
    while run.storage.exists(f"{lists_folder(attempt)}/{MANIFEST}"):
        number += 1
        attempt = RunFolder(run.storage, f"{run.run_id}-{number}")
    return attempt


def write_manifest(run: RunFolder, date: dt.date, shards: Iterable[Shard], details: Mapping[str, Any]) -> str:
    """List the night's files, and answer the manifest's sha256; `details` has model_id, and metrics, gate, config.

    A manifest is written once: for the same shards the first one stays, so that an interrupted night can go on.

    Raises:
        InputError: a listed shard is missing or has another size.
        ConfigError: the run has a manifest with other shards.
    """
    if date != run.date:
        raise AssertionError(f"the run {run.run_id} is not of the night {date}")
    listed = sorted(shards, key=lambda shard: shard["name"])
    folder = lists_folder(run)
    path = f"{folder}/{MANIFEST}"
    _verify_sizes(run.storage, folder, listed)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.run_id,
        "run_date": date.isoformat(),
        "model_id": details["model_id"],
        "created_at": dt.datetime.now(dt.UTC).isoformat(),
        "rows": sum(shard["rows"] for shard in listed),
        "users": sum(shard["users"] for shard in listed),
        "shards": listed,
        "metrics": details.get("metrics", {}),
        "gate": details.get("gate"),
        "config": details.get("config"),
        "packages": details.get("packages", package_versions()),
    }
    data = to_json(manifest)
    if not run.storage.create_bytes(path, data):
        data = run.storage.read_bytes(path)
        if _decode(run.storage, path, data).get("shards") != listed:
            raise ConfigError(
                f"{run.storage.url(path)}: run {run.run_id} is published with other shards; start with --force"
            )
    return hashlib.sha256(data).hexdigest()


def publish(run: RunFolder, manifest_sha256: str, model_id: str, allow_older: bool = False) -> bool:
    """Point LATEST at the run, in one step; answers whether LATEST points there now.

    A night older than the one LATEST names is published for the history of nights, and LATEST stays, unless
    `allow_older`. Call `lease.check()` just before.

    Raises:
        InputError: the manifest is missing or is not the one of `manifest_sha256`, or LATEST is damaged.
    """
    storage = run.storage
    latest = Latest(
        run_id=run.run_id,
        run_date=run.date,
        path=lists_folder(run),
        model_id=model_id,
        published_at=dt.datetime.now(dt.UTC).isoformat(),
        manifest_sha256=manifest_sha256,
    )
    read_manifest(storage, latest)
    current = read_latest(storage)
    moves = current is None or allow_older or current.run_date <= run.date
    record = {**dataclasses.asdict(latest), "run_date": run.date.isoformat()}
    if moves and (current is None or (current.run_id, current.manifest_sha256) != (run.run_id, manifest_sha256)):
        storage.write_json(LATEST, record)
    storage.write_json(_receipt(run), record)
    return moves


def read_latest(storage: Storage) -> Latest | None:
    """The published night, or None where nothing was ever published.

    Raises:
        InputError: the pointer is damaged.
    """
    return _read_pointer(storage, LATEST)


def require_latest(storage: Storage) -> Latest:
    """`read_latest`, for who cannot go on without it.

    Raises:
        InputError: nothing is published, or the pointer is damaged.
    """
    latest = read_latest(storage)
    if latest is None:
        raise InputError(f"{storage.root}: nothing is published there yet; run jobs/nightly.py with the same config")
    return latest


def read_manifest(storage: Storage, latest: Latest) -> dict[str, Any]:
    """The manifest that a pointer names.

    Raises:
        InputError: it is missing, or its sha256 is not the pointer's.
    """
    path = f"{latest.path}/{MANIFEST}"
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError as error:
        raise InputError(f"manifest {storage.url(path)}: is missing; restore it, or publish the night again") from error
    if (found := hashlib.sha256(data).hexdigest()) != latest.manifest_sha256:
        raise InputError(
            f"manifest {storage.url(path)}: sha256 is {found}, published was {latest.manifest_sha256}; "
            "restore it, or publish the night again with --force"
        )
    return _decode(storage, path, data)


def verify(storage: Storage, manifest: Mapping[str, Any]) -> None:
    """Read every file of a night and compare it with the manifest.

    Raises:
        InputError: a shard is missing, differs in size or sha256, or a file is there that the manifest does not list.
    """
    folder = lists_folder(RunFolder(storage, manifest["run_id"]))
    shards: list[Shard] = manifest["shards"]
    _verify_sizes(storage, folder, shards)
    listed = {MANIFEST, *(shard["name"] for shard in shards)}
    if extra := [name for name in storage.list(folder, recursive=True) if name not in listed]:
        raise InputError(
            f"{storage.url(folder, extra[0])}: is not listed in {MANIFEST}; move it out of the night's folder"
        )
    for shard in shards:
        if (found := storage.sha256(f"{folder}/{shard['name']}")) != shard["sha256"]:
            raise InputError(
                f"{storage.url(folder, shard['name'])}: sha256 is {found}, the manifest says {shard['sha256']}; "
                "restore it, or publish the night again with --force"
            )


def published(storage: Storage, run_id: str) -> Latest | None:
    """What was published of a run, or None where it is not published to the end; it need not be the latest.

    Raises:
        InputError: it was published and its manifest has been changed since.
    """
    run = RunFolder(storage, run_id)
    receipt = _read_pointer(storage, _receipt(run))
    if receipt is None:
        # The receipt comes after the pointer: a night cut off between the two is published all the same.
        latest = read_latest(storage)
        receipt = latest if latest is not None and latest.run_id == run_id else None
    if receipt is None or not storage.exists(f"{receipt.path}/{MANIFEST}"):
        return None
    read_manifest(storage, receipt)
    return receipt


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a list, as far as they are installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _receipt(run: RunFolder) -> str:
    return f"{run.dir}/published.json"


def _verify_sizes(storage: Storage, folder: str, shards: Sequence[Shard]) -> None:
    sizes = storage.sizes(folder, recursive=True)
    for shard in shards:
        if (found := sizes.get(shard["name"])) != shard["bytes"]:
            state = "is missing" if found is None else f"has {found} bytes, the manifest says {shard['bytes']}"
            raise InputError(
                f"{storage.url(folder, shard['name'])}: {state}; restore it, or run the night again with --force"
            )


def _read_pointer(storage: Storage, path: str) -> Latest | None:
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError:
        return None
    record = _decode(storage, path, data)
    names = [field.name for field in dataclasses.fields(Latest)]
    if wrong := [name for name in names if not isinstance(record.get(name), str)]:
        raise InputError(f"{storage.url(path)}: {wrong[0]} is missing or no text; {_WAY_OUT}")
    try:
        storage.url(record["path"])
        return Latest(
            **{**{name: record[name] for name in names}, "run_date": dt.date.fromisoformat(record["run_date"])}
        )
    except (ValueError, ConfigError) as error:
        raise InputError(f"{storage.url(path)}: run_date or path is wrong ({error}); {_WAY_OUT}") from error


def _decode(storage: Storage, path: str, data: bytes) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except ValueError as error:
        raise InputError(f"{storage.url(path)}: is damaged ({error}); {_WAY_OUT}") from error
    if not isinstance(record, dict):
        raise InputError(f"{storage.url(path)}: is damaged (no JSON object); {_WAY_OUT}")
    return record


_WAY_OUT = "restore the file, or delete it and publish a night again"
