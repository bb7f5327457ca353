"""Folders of table formats that keep a log of their files: Delta Lake, Apache Iceberg and Apache Hudi.

Such a folder also holds files of older versions, with rows that were deleted. Only the log says which files count.
"""

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

import fsspec
import pyarrow as pa

from recsys.data.files.partitions import partition_values
from recsys.data.formats.input_format import FileInfo
from recsys.errors import InputError

DELTA = "Delta Lake"
_DELTA_LOG = "_delta_log"
_HUDI_LOG = ".hoodie"
_ICEBERG_LOG = "metadata"
_ICEBERG_ENDING = ".metadata.json"
_EXPORT = "write the table's current rows to Parquet files with its own engine, and name their folder"
_WAYS_OUT = {
    DELTA: "name the folder of the table itself with `format: parquet`, not a part of it",
    "Apache Iceberg": _EXPORT,
    "Apache Hudi": _EXPORT,
}


def lake_tables_among(paths: Iterable[str]) -> dict[str, str]:
    """Kind of each table that keeps a log, by its folder, from the paths of all files below some folder.

    >>> lake_tables_among(["lake/events/_delta_log/0.json", "lake/events/part-0.parquet"])
    {'lake/events': 'Delta Lake'}
    """
    found: dict[str, str] = {}
    for path in paths:
        for log, kind in ((_DELTA_LOG, DELTA), (_HUDI_LOG, "Apache Hudi"), (_ICEBERG_LOG, "Apache Iceberg")):
            folder, mark, name = path.partition(f"/{log}/")
            if mark and (log != _ICEBERG_LOG or name.endswith(_ICEBERG_ENDING)):
                found[folder] = kind
    return found


def lake_table_around(fs: fsspec.AbstractFileSystem, folder: str) -> tuple[str, str] | None:
    """Folder and kind of the table that a folder is, or is a part of: below its partitions, or its folder `data`."""
    while "/" in folder.strip("/"):
        if fs.isdir(f"{folder}/{_DELTA_LOG}"):
            return folder, DELTA
        if fs.isdir(f"{folder}/{_HUDI_LOG}"):
            return folder, "Apache Hudi"
        metadata = f"{folder}/{_ICEBERG_LOG}"
        if fs.isdir(metadata) and any(str(name).endswith(_ICEBERG_ENDING) for name in fs.ls(metadata, detail=False)):
            return folder, "Apache Iceberg"
        folder, _, name = folder.rpartition("/")
        if "=" not in name and name != "data":
            break
    return None


def refusal(path: str, folder: str, kind: str) -> InputError:
    """The error for a path whose files are those of a table, read without its log."""
    return InputError(
        f"{path}: {folder} is a table of {kind}, whose files also hold rows that were deleted; {_WAYS_OUT[kind]}"
    )


def delta_files(folder: str, *, remote: bool) -> list[FileInfo]:
    """The Parquet files of the newest version of a Delta Lake table, sorted by path.

    Args:
        folder: Path of the table as its filesystem spells it.
        remote: Whether it is in S3.

    Raises:
        InputError: the package `deltalake` is missing, the log is damaged, or the table uses a feature for which the
            files are not enough.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise InputError(
            f"{folder}: is a table of Delta Lake; to read it, install the package: pip install 'recsys[delta]'"
        ) from error
    if set("[]%") & set(folder):  # the library would panic, or look elsewhere
        raise InputError(f"{folder}: deltalake cannot open a table whose path has one of [ ] %; rename the folder")
    address = f"{'s3' if remote else 'file'}://{quote(folder)}"
    try:
        table = DeltaTable(address, storage_options=_s3_options() if remote else None)
        actions = pa.table(table.get_add_actions(flatten=True))
    except (DeltaError, pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{folder}: the log of this Delta Lake table cannot be read: {error}") from error
    names = [unquote(name) for name in actions["path"].to_pylist()]
    _check_features(table, folder, names)
    details = zip(names, actions["size_bytes"].to_pylist(), actions["modification_time"].to_pylist(), strict=True)
    files = [FileInfo(path=f"{folder}/{name}", size=size, version=str(changed)) for name, size, changed in details]
    return sorted(files, key=lambda file: file.path)


def _check_features(table: Any, folder: str, names: list[str]) -> None:
    problem = ""
    if _has_deletion_vectors(table):
        problem = "marks deleted rows beside its files (deletion vectors): run REORG TABLE … APPLY (PURGE) on it"
    elif table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        problem = "maps the names of its columns: write it to a table without column mapping"
    elif any("://" in name or name.startswith("/") for name in names):
        problem = "has files of another table (a shallow clone): clone it deep"
    else:
        columns = set(table.metadata().partition_columns)
        if any(not columns <= partition_values(name).keys() for name in names):
            problem = f"has no folders for its partition columns ({', '.join(sorted(columns))}): write it again"
    if problem:
        raise InputError(f"{folder}: is a Delta Lake table that {problem}")


def _has_deletion_vectors(table: Any) -> bool:
    if "deletionVectors" not in (table.protocol().reader_features or ()):
        return False
    from deltalake.exceptions import DeltaError

    try:
        return any(batch.num_rows for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()))
    except (DeltaError, pa.ArrowException, OSError, ValueError):  # they are there, but deltalake cannot read them
        return True


def _s3_options() -> dict[str, str]:
    """Where deltalake finds S3. It reads the other settings from the environment itself."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return {}
    return {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": str(endpoint.startswith("http://")).lower()}
