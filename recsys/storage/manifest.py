"""The manifest of a night's lists: every file with its size and sha256, and what the lists were made by."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from recsys.errors import ConfigError, InputError, NewerFormatError
from recsys.schema import SCHEMA_VERSION
from recsys.storage.filesystem import Storage
from recsys.storage.json_files import WAY_OUT, to_json
from recsys.storage.latest import Latest
from recsys.storage.package_versions import package_versions
from recsys.storage.record_kinds import MANIFEST_RECORD
from recsys.storage.runs import RunFolder

MANIFEST = "_MANIFEST.json"


class StoredFile(TypedDict):
    """One file in a manifest; `name` is relative to its folder."""

    name: str
    bytes: int
    sha256: str


class Shard(StoredFile):
    """One file of lists, in the night's folder."""

    rows: int
    users: int


class TableFile(StoredFile):
    """One file of another table, in the table's folder of the night."""

    rows: int


class PublishedTable(TypedDict):
    """A table that is published beside the lists; `path` is relative to the storage root."""

    path: str
    files: list[TableFile]


class NeededFile(TypedDict):
    """A file that is no table, and that a published night needs; `path` is relative to the storage root."""

    path: str
    bytes: int
    sha256: str
    """Empty for Parquet files, whose pages carry checksums."""


def table_folder(run: RunFolder, table: str) -> str:
    """Where a table of the run is written, relative to the storage root."""
    return f"{table}/run_date={run.date.isoformat()}/run_id={run.run_id}"


def lists_folder(run: RunFolder) -> str:
    """Where the run's lists are written, relative to the storage root."""
    return table_folder(run, "recommendations")


def is_complete(run: RunFolder) -> bool:
    """Whether the run's lists have a manifest: then nothing of the run may be written again."""
    return run.storage.exists(f"{lists_folder(run)}/{MANIFEST}")


def write_manifest(run: RunFolder, shards: Iterable[Shard], details: Mapping[str, Any]) -> str:
    """List the night's files, and return the manifest's sha256.

    A manifest is written once. For the same shards the first one stays, so that an interrupted night can go on.

    Args:
        run: The night.
        shards: The files of its lists.
        details: `model_id`, and if there are any `metrics`, `gate`, `config`, `tables` (other tables that are published
            with the lists, each a `PublishedTable` by its name), and `needs` (each a `NeededFile`).

    Raises:
        InputError: a listed shard is missing or has another size.
        ConfigError: the run has a manifest with other shards.
    """
    listed = sorted(shards, key=lambda shard: shard["name"])
    folder = lists_folder(run)
    path = f"{folder}/{MANIFEST}"
    _verify_sizes(run.storage, folder, listed)
    tables: Mapping[str, PublishedTable] = details.get("tables", {})
    for table in tables.values():
        _verify_sizes(run.storage, table["path"], table["files"])
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.run_id,
        "run_date": run.date.isoformat(),
        "model_id": details["model_id"],
        "created_at": dt.datetime.now(dt.UTC).isoformat(),
        "rows": sum(shard["rows"] for shard in listed),
        "users": sum(shard["users"] for shard in listed),
        "shards": listed,
        "tables": dict(tables),
        "needs": list(details.get("needs", [])),
        "metrics": details.get("metrics", {}),
        "gate": details.get("gate"),
        "config": details.get("config"),
        "packages": package_versions(),
    }
    data = to_json(MANIFEST_RECORD.stamp(manifest))
    if not run.storage.create_bytes(path, data):
        data = run.storage.read_bytes(path)
        if decode_manifest(data, run.storage.url(path)).get("shards") != listed:
            raise ConfigError(
                f"{run.storage.url(path)}: run {run.run_id} is published with other shards; start with --force"
            )
    return hashlib.sha256(data).hexdigest()


def read_manifest(storage: Storage, latest: Latest) -> dict[str, Any]:
    """The manifest that a pointer names.

    Raises:
        InputError: it is missing, its sha256 is not the pointer's, or it is of another night than the pointer says.
        NewerFormatError: a newer release wrote it.
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
    manifest = decode_manifest(data, storage.url(path))
    pointed = {"run_id": latest.run_id, "run_date": latest.run_date.isoformat(), "model_id": latest.model_id}
    if wrong := [name for name, value in pointed.items() if manifest.get(name) != value]:
        raise InputError(
            f"manifest {storage.url(path)}: its {wrong[0]} is {manifest.get(wrong[0])}, but the pointer to it says "
            f"{pointed[wrong[0]]}; {WAY_OUT}"
        )
    return manifest


def decode_manifest(data: bytes, url: str) -> dict[str, Any]:
    """The content of a manifest.

    Raises:
        InputError: it is damaged.
        NewerFormatError: a newer release wrote it, or the tables that it lists.
    """
    manifest = MANIFEST_RECORD.decode(data, url)
    if (found := manifest.get("schema_version", SCHEMA_VERSION)) > SCHEMA_VERSION:
        raise NewerFormatError(
            f"{url}: its tables have schema version {found}, and this release knows versions up to {SCHEMA_VERSION}; a "
            f"newer release wrote them: install that release or a later one"
        )
    return manifest


def verify(storage: Storage, manifest: Mapping[str, Any]) -> None:
    """Read every file of a night and compare it with the manifest.

    Raises:
        InputError: a file is missing, differs in size or sha256, or a folder of lists or of another table has a file
            that the manifest does not list.
    """
    verify_tables(storage, manifest)
    for folder, files in _tables(storage, manifest):
        listed = {MANIFEST, *(file["name"] for file in files)}
        if extra := [name for name in storage.list(folder, recursive=True) if name not in listed]:
            raise InputError(
                f"{storage.url(folder, extra[0])}: is not listed in {MANIFEST}; move it out of the night's folder"
            )


def verify_tables(storage: Storage, manifest: Mapping[str, Any]) -> None:
    """Read the lists and the other tables of a night, and compare them with the manifest.

    Raises:
        InputError: a file is missing, or differs in size or sha256.
    """
    for folder, files in _tables(storage, manifest):
        _verify_sizes(storage, folder, files)
        for file in files:
            verify_file(storage, f"{folder}/{file['name']}", file["sha256"])


def verify_shard(storage: Storage, latest: Latest, shard: Shard) -> None:
    """Read one file of lists and compare it with the manifest.

    Raises:
        InputError: it is missing, or differs in sha256.
    """
    verify_file(storage, f"{latest.path}/{shard['name']}", shard["sha256"])


def verify_list_sizes(storage: Storage, latest: Latest, manifest: Mapping[str, Any]) -> None:
    """Compare the sizes of the files of lists with the manifest: one look at the folder, for any number of users.

    Raises:
        InputError: a file is missing, or has another size.
    """
    _verify_sizes(storage, latest.path, manifest["shards"])


def _tables(storage: Storage, manifest: Mapping[str, Any]) -> list[tuple[str, Sequence[StoredFile]]]:
    """The folder and the files of the lists and of each other table."""
    tables: Mapping[str, PublishedTable] = manifest.get("tables", {})
    lists = lists_folder(RunFolder(storage, manifest["run_id"]))
    return [(lists, manifest["shards"]), *((table["path"], table["files"]) for table in tables.values())]


def verify_file(storage: Storage, path: str, sha256: str) -> None:
    """Read a file and compare it with what its manifest says.

    Raises:
        InputError: it is missing, or differs in sha256.
    """
    url = storage.url(path)
    try:
        found = storage.sha256(path)
    except FileNotFoundError as error:
        raise InputError(f"{url}: is missing; restore it, or run the night again with --force") from error
    if found != sha256:
        raise InputError(
            f"{url}: sha256 is {found}, the manifest says {sha256}; restore it, or publish the night again with --force"
        )


def _verify_sizes(storage: Storage, folder: str, files: Sequence[StoredFile]) -> None:
    sizes = storage.sizes(folder, recursive=True)
    for file in files:
        if (found := sizes.get(file["name"])) != file["bytes"]:
            state = "is missing" if found is None else f"has {found} bytes, the manifest says {file['bytes']}"
            raise InputError(
                f"{storage.url(folder, file['name'])}: {state}; restore it, or run the night again with --force"
            )
