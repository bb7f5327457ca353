"""Folders of Delta Lake, Iceberg and Hudi: only their log says which files and rows are current."""

import json
import re
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from recsys.data.config import TableInput
from recsys.data.files.find_files import list_files
from recsys.data.files.readers import read_chunks
from recsys.errors import InputError

FS = fsspec.filesystem("file")


def rows(path: Path, fs: Any = FS) -> list[dict[str, Any]]:
    found = [
        row
        for file in list_files(fs, str(path), "parquet")
        for chunk in read_chunks(fs, file.path, TableInput(path="unused"))
        for row in chunk.table.to_pylist()
    ]
    return sorted(found, key=lambda row: str(row["user"]))


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """A table with a row that was deleted, in a folder and with partitions whose names need an encoding."""
    folder = tmp_path / "é #1 a b?"
    table = pa.table({"user": ["ann", "bo", "cy"], "shop": ["x y/é", "x y/é", None]})
    write_deltalake(folder.as_uri(), table, partition_by=["shop"])
    write_deltalake(folder.as_uri(), pa.table({"user": ["di"], "shop": ["z"]}), mode="append")
    DeltaTable(folder.as_uri()).delete("user = 'ann'")
    return folder


def test_a_delta_table_is_read_as_its_log_says(delta: Path) -> None:
    assert rows(delta) == [
        {"user": "bo", "shop": "x y/é"},
        {"user": "cy", "shop": None},
        {"user": "di", "shop": "z"},
    ]


@pytest.mark.parametrize("name", ["[x]", "a%20b"])
def test_a_delta_table_that_the_library_cannot_open_is_refused(name: str, delta: Path, tmp_path: Path) -> None:
    delta.rename(tmp_path / name)
    with pytest.raises(InputError, match=f"{re.escape(name)}: deltalake cannot open.*rename the folder"):
        rows(tmp_path / name)


def test_parts_of_a_delta_table_are_refused(delta: Path) -> None:
    part = next(delta.glob("shop=z/*.parquet"))
    for path in (part, part.parent, delta / "*" / "*.parquet", delta / "shop=*", delta.parent):
        with pytest.raises(
            InputError, match=f"{re.escape(str(delta))} is a table of Delta Lake.*name the folder of the table"
        ):
            list_files(FS, str(path), "parquet")
    with pytest.raises(InputError, match=r"is a table of Delta Lake.*format: parquet"):
        list_files(FS, str(delta), "csv")


def test_a_delta_table_whose_log_is_damaged(delta: Path) -> None:
    for file in (delta / "_delta_log").iterdir():
        file.write_text("nonsense")
    with pytest.raises(InputError, match=f"{re.escape(str(delta))}: the log of this Delta Lake table cannot be read"):
        rows(delta)


@pytest.mark.parametrize(
    ("features", "add", "settings", "said"),
    [
        (
            ["deletionVectors"],
            # The example of the protocol's specification: rows 3, 4, 7, 11, 18 and 29 are deleted.
            {
                "deletionVector": {
                    "storageType": "i",
                    "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
                    "sizeInBytes": 40,
                    "cardinality": 6,
                }
            },
            {"delta.enableDeletionVectors": "true"},
            "deletion vectors",
        ),
        (["columnMapping"], {}, {"delta.columnMapping.mode": "name"}, "maps the names of its columns"),
    ],
)
def test_delta_tables_for_which_the_files_are_not_enough(
    features: list[str], add: dict[str, Any], settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"user": [f"u{number}" for number in range(30)]}), tmp_path / "a.parquet")
    metadata = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "user"}
    field = {"name": "user", "type": "string", "nullable": True, "metadata": metadata}
    actions = [
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features}},
        {
            "metaData": {
                "id": "1",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps({"type": "struct", "fields": [field]}),
                "partitionColumns": [],
                "configuration": settings,
            }
        },
        {
            "add": {"path": "a.parquet", "partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": True}
            | add
        },
    ]
    actions[0]["protocol"]["writerFeatures"] = features
    (tmp_path / "_delta_log").mkdir()
    log = "".join(json.dumps(action) + "\n" for action in actions)
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text(log)

    with pytest.raises(InputError, match=f"{tmp_path}: is a Delta Lake table that .*{said}"):
        list_files(FS, str(tmp_path), "parquet")


def test_iceberg_and_hudi_are_refused_by_name(tmp_path: Path) -> None:
    for log, kind in (("metadata/v1.metadata.json", "Iceberg"), (".hoodie/hoodie.properties", "Hudi")):
        folder = tmp_path / kind
        for path in (folder / log, folder / "data" / "day=1" / "a.parquet"):
            path.parent.mkdir(parents=True)
            path.write_bytes(b"")
        pq.write_table(pa.table({"user": ["ann"]}), folder / "data" / "day=1" / "a.parquet")
        for inside in ("", "data", "data/day=1", "data/day=1/a.parquet", "data/*/*.parquet"):
            with pytest.raises(InputError, match=f"{folder} is a table of Apache {kind}.*deleted.*its own engine"):
                list_files(FS, str(folder / inside), "parquet")


def test_a_folder_called_metadata_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "notes.json").write_text("{}")
    pq.write_table(pa.table({"user": ["ann"]}), tmp_path / "a.parquet")

    assert rows(tmp_path) == [{"user": "ann"}]
