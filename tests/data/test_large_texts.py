"""Texts of more than 2 GiB. The columns share one buffer, so that a test needs little memory."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recsys.data.catalog import build_catalog, item_version_spec
from recsys.data.config import ItemsInput, UsersInput
from recsys.data.profile_table import build_profiles, user_version_spec
from recsys.data.values.large_texts import chosen_rows, small_slices, with_large_text
from recsys.data.versions import VersionSpec, merge_versions, versions_schema

NUM_IDS, REPEATS, CHARS = 400, 60, 100_000


def large_versions(what: VersionSpec) -> list[pa.Table]:
    """60 versions of each of 400 texts of 100,000 characters: 2.4 GB, 40 MB of them different."""
    ids = pa.array([f"{number:03d}" for number in range(NUM_IDS)])
    texts = pc.binary_join_element_wise(ids, pa.scalar("x" * (CHARS - 4)), " ").cast(pa.large_string())
    orders = [pa.array([order] * NUM_IDS) for order in range(REPEATS)]
    return [pa.table([ids, texts, order], schema=versions_schema(what)) for order in orders]


def test_versions_of_more_than_2_gib_become_a_catalog_and_profiles() -> None:
    items = ItemsInput(path="unused", text="{name}", max_text_chars=20)
    versions = large_versions(item_version_spec(items))
    assert sum(pc.sum(pc.binary_length(part["value:name"])).as_py() for part in versions) > 2**31

    merged = merge_versions(versions)
    catalog = build_catalog(merged, items)

    assert catalog["text"][7].as_py() == "007 " + "x" * 16
    assert len(catalog["attributes"][7].as_py()[0][1]) == CHARS

    users = UsersInput(path="unused", text="{name}", max_text_chars=20)
    merged = merged.rename_columns(versions_schema(user_version_spec(users)).names)
    assert build_profiles(merged, users)["profile"].to_pylist() == catalog["text"].to_pylist()


def test_chosen_rows_are_in_the_order_asked_for() -> None:
    column = pa.chunked_array([["a", None], ["c", "d"]], pa.large_string())

    assert chosen_rows(column, pa.array([3, 0, None, 3, 1])).to_pylist() == ["d", "a", None, "d", None]
    assert chosen_rows(column.slice(0, 0), pa.array([None, None], pa.int64())).to_pylist() == [None, None]


@pytest.mark.parametrize(("slice_bytes", "rows"), [(1 << 20, [4]), (600, [1, 2, 1]), (1, [1, 1, 1, 1])])
def test_slices_are_small_and_hold_every_row_once(slice_bytes: int, rows: list[int]) -> None:
    table = with_large_text(pa.table({"id": ["a", "b", "c", "d"], "text": ["x", "y" * 200, None, ""]}), "text")

    slices = list(small_slices(table, slice_bytes))

    assert [len(part) for part in slices] == rows
    assert pa.concat_tables(slices) == pa.table({"id": ["a", "b", "c", "d"], "text": ["x", "y" * 200, None, ""]})
    assert len(list(small_slices(table.slice(0, 0)))) == 1
