"""Inputs in S3: keys of all kinds, partition folders, and tables that keep a log."""

import itertools
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from recsys.data.config import TableInput
from recsys.data.files.find_files import list_files
from recsys.data.files.read_tasks import plan_reads
from recsys.data.files.readers import read_chunks
from recsys.errors import InputError
from recsys.pipeline.inputs.input_parts import read_part
from recsys.storage.addresses import open_input
from recsys.storage.filesystem import Storage


def users(address: str) -> list[tuple[str, str | None]]:
    """User and day of each row of an input."""
    fs, path = open_input(address)
    return [
        (row["user"], row["day"])
        for file in list_files(fs, path, "parquet")
        for chunk in read_chunks(fs, file.path, TableInput(path="unused"))
        for row in chunk.table.to_pylist()
    ]


@pytest.mark.parametrize("folder", ["a b", "a%20b", "a#b", "é 日本", "what?", "[x]", "star*"])
def test_keys_of_all_kinds(folder: str, s3_root: str) -> None:
    storage = Storage(s3_root)
    for day in ("1", "2"):
        with storage.new_file(f"{folder}/day={day}/[1] #?.parquet") as file:
            pq.write_table(pa.table({"user": ["ann"]}), file.path)
    expected = [("ann", "1"), ("ann", "2")]

    assert storage.list(folder, recursive=True) == ["day=1/[1] #?.parquet", "day=2/[1] #?.parquet"]
    assert users(f"{s3_root}/{folder}") == expected
    assert users(f"{s3_root}/{folder}/day=*") == expected
    assert users(f"{s3_root}/{folder}/day=1/[1] #?.parquet") == expected[:1]


def test_a_delta_table(s3_root: str, s3_endpoint: str) -> None:
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true", "AWS_S3_ALLOW_UNSAFE_RENAME": "true"}
    table = pa.table({"user": ["ann", "bo"], "day": ["1 é", None]})
    address = f"{s3_root}/a%20b%20%C3%A9"
    write_deltalake(address, table, partition_by=["day"], storage_options=options)
    DeltaTable(address, storage_options=options).delete("user = 'ann'")

    assert users(f"{s3_root}/a b é") == [("bo", None)]
    with pytest.raises(InputError, match="is a table of Delta Lake"):
        users(f"{s3_root}/a b é/*/*.parquet")


def test_small_objects_are_fetched_ahead_and_read_in_their_order(s3_root: str) -> None:
    storage = Storage(s3_root)
    for number in range(70):  # more than are fetched at a time
        storage.write_bytes(f"in/{number:03}.jsonl", b'{"n": %d}\n' % number)
    fs, path = open_input(f"{s3_root}/in")
    (task,) = plan_reads(fs, list_files(fs, path, "jsonl"), "jsonl")
    source = TableInput(path=f"{s3_root}/in", format="jsonl")
    found = [(file, rows["n"].to_pylist()) for file, rows, _ in read_part(source, task)]
    assert found == [(f"{path}/{number:03}.jsonl", [number]) for number in range(70)]
    some = itertools.islice(read_part(source, task), 3)
    assert [rows["n"].to_pylist() for _, rows, _ in some] == [[0], [1], [2]]
    storage.delete("in/040.jsonl")
    with pytest.raises(InputError, match=rf"^{path}/040\.jsonl: does not exist"):
        list(read_part(source, task))


def test_messages_name_the_whole_address(s3_root: str) -> None:
    storage = Storage(s3_root)
    storage.write_bytes("in/a.csv", b"user\n")
    storage.write_bytes("in/b.csv", b"user,user\n")
    for place, message in (("in", "no parquet file there"), ("in/*.parquet", "no parquet file there")):
        with pytest.raises(InputError, match=rf"^{re.escape(f'{s3_root}/{place}')}: {message}"):
            list_files(*open_input(f"{s3_root}/{place}"), "parquet")
    with pytest.raises(InputError, match=f"did you mean {s3_root}/in/a.csv"):
        list_files(*open_input(f"{s3_root}/in/aa.csv"), "csv")
    fs, path = open_input(f"{s3_root}/in")
    source = TableInput(path=path, format="csv")
    (task,) = plan_reads(fs, list_files(fs, path, "csv"), "csv")
    with pytest.raises(InputError, match=f"^{s3_root}/in/b.csv: more than one column is called 'user'"):
        list(read_part(source, task))
