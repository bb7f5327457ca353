import datetime as dt
import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import schema
from recsys.errors import InputError
from recsys.storage.filesystem import Storage
from recsys.storage.tables import iter_batches, read_sorted_range, read_table, write_table

MOMENT = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


@pytest.fixture
def storage(root: str) -> Storage:
    return Storage(root)


def recommendations(num_rows: int) -> pa.Table:
    rows = [
        {
            "user_id": f"u{i}",
            "rank": 1,
            "item_id": "é" * (i % 5),
            "score": i / 7,
            "source": "r",
            "reason": "",
            "variant": "",
        }
        for i in range(num_rows)
    ]
    return pa.Table.from_pylist(rows, schema=schema.RECOMMENDATIONS)


def histories(num_rows: int) -> pa.Table:
    rows = [
        {
            "user_id": f"u{i}",
            "item_ids": [f"i{j}" for j in range(i % 4)],
            "timestamps": [MOMENT] * (i % 4),
            "events": ["view"] * (i % 4),
            "weights": [1.0] * (i % 4),
            "seen_item_ids": [],
        }
        for i in range(num_rows)
    ]
    return pa.Table.from_pylist(rows, schema=schema.HISTORIES)


def test_a_table_comes_back_as_it_was(storage: Storage) -> None:
    for table, columns in ((recommendations(10), ["score", "user_id"]), (histories(9), ["item_ids"])):
        stats = write_table(storage, "t/a.parquet", table, table.schema)
        data = storage.read_bytes("t/a.parquet")
        assert (stats.rows, stats.bytes, stats.sha256) == (len(table), len(data), hashlib.sha256(data).hexdigest())
        found = read_table(storage, "t/a.parquet")
        assert found.equals(table)
        assert found.schema.equals(table.schema)
        assert not found.schema.metadata
        assert write_table(storage, "t/b.parquet", found, table.schema) == stats
        assert set(read_table(storage, "t/a.parquet", columns).column_names) == set(columns)


def test_an_empty_table_has_a_file_too(storage: Storage) -> None:
    assert write_table(storage, "a.parquet", iter(()), schema.QUARANTINE).rows == 0
    assert read_table(storage, "a.parquet").equals(schema.QUARANTINE.empty_table())
    assert list(iter_batches(storage, "a.parquet", 10)) == []


def test_a_range_of_a_sorted_table_reads_only_its_row_groups(storage: Storage) -> None:
    items = [item for item in range(100) for _ in range(item % 3)]  # items 0, 3, 6 … have no row
    table = pa.table({"item": pa.array(items, pa.int32()), "other": range(len(items))})
    write_table(storage, "a.parquet", table, table.schema, row_group_size=20)
    for values in (range(100), range(0), range(10, 31), range(30, 31), range(99, 200), range(200, 300)):
        assert read_sorted_range(storage, "a.parquet", "item", values).equals(
            table.filter(pa.array([item in values for item in items]))
        )
    data = storage.read_bytes("a.parquet")
    last = pq.read_metadata(pa.BufferReader(data)).row_group(4).column(1)
    place = last.data_page_offset + last.total_compressed_size // 2
    storage.write_bytes("a.parquet", data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
    assert len(read_sorted_range(storage, "a.parquet", "item", range(10, 31))) == 21
    with pytest.raises(InputError, match="truncated or damaged"):
        read_table(storage, "a.parquet")
    with pytest.raises(InputError, match="has no column 'user'"):
        read_sorted_range(storage, "a.parquet", "user", range(10))


def test_batches_are_streamed_in_order(storage: Storage) -> None:
    table = recommendations(100)
    write_table(storage, "a.parquet", table, schema.RECOMMENDATIONS, row_group_size=30)
    batches = list(iter_batches(storage, "a.parquet", 16, ["user_id"]))
    assert max(len(batch) for batch in batches) <= 16
    assert pa.concat_tables(batches).equals(table.select(["user_id"]))
    first = next(iter_batches(storage, "a.parquet", 16))
    assert first.equals(table.slice(0, 16))


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 50), max_size=8), group=st.integers(1, 60), whole=st.sampled_from(["r", "h"]))
def test_the_same_rows_give_the_same_bytes(cuts: list[int], group: int, whole: str) -> None:
    table = recommendations(50) if whole == "r" else histories(50)
    borders = [0, *sorted(cuts), 50]
    pieces = [table.slice(a, b - a) for a, b in itertools.pairwise(borders)]
    batches = [batch for piece in pieces for batch in piece.to_batches()]
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)
        expected = write_table(storage, "a", table, table.schema, group)
        assert write_table(storage, "b", pieces, table.schema, group) == expected
        assert write_table(storage, "c", iter(batches), table.schema, group) == expected
        rebuilt = pa.Table.from_pylist(table.to_pylist(), schema=table.schema)
        assert write_table(storage, "d", rebuilt, table.schema.with_metadata({"pandas": "x"}), group) == expected
        assert pq.ParquetFile(storage.path("a")).num_row_groups == -(-50 // group)


def test_long_columns_give_the_same_bytes_too(tmp_path: Path) -> None:
    """Beyond a dictionary page (1 MiB), where the writer's own cuts begin to follow the chunks."""
    table = pa.table({"key": [hashlib.sha256(b"%d" % i).hexdigest() for i in range(40_000)]})
    storage = Storage(str(tmp_path))
    expected = write_table(storage, "a", table, table.schema)
    assert write_table(storage, "b", table.to_batches(max_chunksize=77), table.schema) == expected


def test_memory_does_not_grow_with_the_number_of_batches(tmp_path: Path) -> None:
    batch = recommendations(2_000)
    storage = Storage(str(tmp_path))

    def peak(num_batches: int) -> int:
        before, highest = pa.total_allocated_bytes(), 0

        def batches() -> Iterator[pa.Table]:
            nonlocal highest
            for _ in range(num_batches):
                highest = max(highest, pa.total_allocated_bytes() - before)
                yield pa.table([column.cast(column.type) for column in batch.columns], schema=batch.schema)

        write_table(storage, "a", batches(), batch.schema, row_group_size=4_000)
        return highest

    assert peak(40) < 2 * peak(5) + batch.nbytes


def test_a_failing_source_leaves_the_old_file(storage: Storage) -> None:
    write_table(storage, "a.parquet", recommendations(3), schema.RECOMMENDATIONS)

    def batches() -> Iterator[pa.Table]:
        yield recommendations(5)
        raise RuntimeError("source died")

    with pytest.raises(RuntimeError, match="source died"):
        write_table(storage, "a.parquet", batches(), schema.RECOMMENDATIONS)
    assert len(read_table(storage, "a.parquet")) == 3
    assert storage.list("") == ["a.parquet"]


def test_another_schema_is_our_own_mistake(storage: Storage) -> None:
    table = recommendations(3)
    wrong = table.set_column(3, "score", table["score"].cast(pa.float64()))
    for bad in (wrong, table.drop(["reason"]), table.select(table.column_names[::-1])):
        with pytest.raises(AssertionError, match="schema differs"):
            write_table(storage, "a.parquet", bad, schema.RECOMMENDATIONS)
    assert not storage.exists("a.parquet")


def test_damage_is_reported_with_the_name(storage: Storage) -> None:
    write_table(storage, "whole.parquet", recommendations(2_000), schema.RECOMMENDATIONS, row_group_size=500)
    whole = storage.read_bytes("whole.parquet")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damaged = [
        b"",
        b"PAR1",
        whole[:-1],
        whole[: len(whole) // 2],
        bytes(flipped),
        b"not parquet at all, but long enough",
    ]
    for number, data in enumerate(damaged):
        storage.write_bytes(f"bad-{number}.parquet", data)
        for read in (
            lambda path: read_table(storage, path),
            lambda path: list(iter_batches(storage, path, 100)),
        ):
            with pytest.raises(InputError, match=rf"bad-{number}\.parquet: is truncated or damaged"):
                read(f"bad-{number}.parquet")


def test_a_missing_file_or_column_is_reported(storage: Storage) -> None:
    with pytest.raises(InputError, match=r"none\.parquet: there is no such file"):
        read_table(storage, "none.parquet")
    write_table(storage, "a.parquet", recommendations(3), schema.RECOMMENDATIONS)
    with pytest.raises(InputError, match=r"a\.parquet: has no column 'age'; it has user_id, rank"):
        read_table(storage, "a.parquet", ["user_id", "age"])
