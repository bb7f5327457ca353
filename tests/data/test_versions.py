"""The latest non-empty value of each column wins, however rows are cut, ordered and merged."""

import random
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.catalog import item_version_spec
from recsys.data.config import ItemsInput
from recsys.data.versions import VersionSpec, holds_history, merge_versions, read_versions, version_times


def spec(columns: dict[str, str] | None = None) -> VersionSpec:
    named = {"item_id": "sku"} | (columns or {})
    return item_version_spec(ItemsInput(path="unused", text="{name}. {group}", columns=named))  # type: ignore[arg-type]


_VALUES = st.one_of(st.none(), st.sampled_from(["", " ", "x", "y", "Z", "é", "true"]))
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "sku": st.sampled_from(["a", "b", "c"]),
            "name": _VALUES,
            "group": _VALUES,
            "when": st.sampled_from(["1", "2", "3"]),
        }
    ),
    min_size=1,
    max_size=12,
)


@given(_ROWS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_merged_versions_can_be_merged_again(rows: list[dict[str, Any]], chance: random.Random, num_parts: int) -> None:
    """Any cut, any order, merged early or late: one answer."""
    items = spec({"timestamp": "when"})
    schema = pa.schema([(name, pa.string()) for name in ("sku", "name", "group", "when")])
    table = pa.Table.from_pylist(rows, schema)
    whole = merge_versions([read_versions(table, "f", items, 10, 0).versions])

    shuffled = chance.sample(rows, len(rows))
    parts = [pa.Table.from_pylist(shuffled[part::num_parts], schema) for part in range(num_parts)]
    merged = [merge_versions([read_versions(part, "f", items, 10, 0).versions]) for part in parts]
    first = merge_versions(merged[:2])

    assert merge_versions([*merged[2:], first]) == whole
    assert whole["item_id"].to_pylist() == sorted({row["sku"] for row in rows})
    for item in whole.to_pylist():
        mine = [
            (row["when"], row["name"]) for row in rows if row["sku"] == item["item_id"] and (row["name"] or "").strip()
        ]
        assert item["value:name"] == (max(mine)[1] if mine else None)


@given(_ROWS, st.integers(0, 12))
def test_positions_do_not_depend_on_the_cut(rows: list[dict[str, Any]], cut: int) -> None:
    schema = pa.schema([(name, pa.string()) for name in ("sku", "name", "group")])
    table = pa.Table.from_pylist(rows, schema)
    cut = min(cut, len(rows))

    def read(part: pa.Table, order: int) -> pa.Table:
        return read_versions(part, "f", spec(), 10, order).versions

    assert merge_versions([read(table.slice(cut), cut), read(table.slice(0, cut), 0)]) == merge_versions(
        [read(table, 0)]
    )


@given(_ROWS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_history_has_an_id_at_different_times(
    rows: list[dict[str, Any]], chance: random.Random, num_parts: int
) -> None:
    items = spec({"timestamp": "when"})
    schema = pa.schema([(name, pa.string()) for name in ("sku", "name", "group", "when")])
    with_text = [row for row in rows if (row["name"] or row["group"] or "").strip()]
    times = {row["sku"]: {other["when"] for other in with_text if other["sku"] == row["sku"]} for row in with_text}
    shuffled = chance.sample(with_text, len(with_text)) * 2  # repeated rows
    parts = [pa.Table.from_pylist(shuffled[part::num_parts], schema) for part in range(num_parts)]
    read = [read_versions(part, "f", items, 10, 0).versions for part in parts]
    assert holds_history([version_times(part) for part in read]) == any(len(each) > 1 for each in times.values())
