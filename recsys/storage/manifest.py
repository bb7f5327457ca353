"""The manifest of a night's lists: every file with its size and sha256, and what the lists were made by."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from recsys.errors import ConfigError, InputError
from recsys.schema import SCHEMA_VERSION
from recsys.storage.filesystem import Storage
from recsys.storage.json_files import decode_object, to_json
from recsys.storage.latest import Latest
from recsys.storage.package_versions import package_versions
from recsys.storage.runs import RunFolder

MANIFEST = "_MANIFEST.json"


class Shard(TypedDict):
    """One file of lists in a manifest; `name` is relative to the night's folder."""

    name: str
    rows: int
    users: int
    bytes: int
    sha256: str


class TableFile(TypedDict):
    """The file of another table of the night in a manifest; `path` is relative to the storage root."""

    name: str
    path: str
    rows: int
    bytes: int
    sha256: str


def lists_folder(run: RunFolder) -> str:
    """Where the run's lists are written, relative to the storage root."""
    return f"recommendations/run_date={run.date.isoformat()}/run_id={run.run_id}"


def is_complete(run: RunFolder) -> bool:
    """Whether the run's lists have a manifest: then nothing of the run may be written again."""
    return run.storage.exists(f"{lists_folder(run)}/{MANIFEST}")


def write_manifest(run: RunFolder, date: dt.date, shards: Iterable[Shard], details: Mapping[str, Any]) -> str:
    """List the night's files, and return the manifest's sha256.

    A manifest is written once. For the same shards the first one stays, so that an interrupted night can go on.

    Args:
        run: The night.
        date: Its date.
        shards: The files of its lists.
        details: `model_id`, and if there are any `tables` (each a `TableFile`), `metrics`, `gate`, `config`,
            `packages`.

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
        "tables": details.get("tables", []),
        "metrics": details.get("metrics", {}),
        "gate": details.get("gate"),
        "config": details.get("config"),
        "packages": details.get("packages", package_versions()),
    }
    data = to_json(manifest)
    if not run.storage.create_bytes(path, data):
        data = run.storage.read_bytes(path)
        if decode_object(data, run.storage.url(path)).get("shards") != listed:
            raise ConfigError(
                f"{run.storage.url(path)}: run {run.run_id} is published with other shards; start with --force"
            )
    return hashlib.sha256(data).hexdigest()


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
    return decode_object(data, storage.url(path))


def verify(storage: Storage, manifest: Mapping[str, Any]) -> None:
    """Read every file of a night and compare it with the manifest.

    Raises:
        InputError: a shard or a table is missing, differs in size or sha256, or there is a file that the manifest does
            not list.
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
    tables: list[TableFile] = manifest.get("tables", [])
    for table in tables:
        if not storage.exists(table["path"]) or storage.sha256(table["path"]) != table["sha256"]:
            raise InputError(
                f"{storage.url(table['path'])}: is missing or differs from the manifest; restore it, or publish the "
                f"night again with --force"
            )


def _verify_sizes(storage: Storage, folder: str, shards: Sequence[Shard]) -> None:
    sizes = storage.sizes(folder, recursive=True)
    for shard in shards:
        if (found := sizes.get(shard["name"])) != shard["bytes"]:
            state = "is missing" if found is None else f"has {found} bytes, the manifest says {shard['bytes']}"
            raise InputError(
                f"{storage.url(folder, shard['name'])}: {state}; restore it, or run the night again with --force"
            )
