import json
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.catalog import build_catalog, item_version_spec
from recsys.data.config import ItemsInput
from recsys.data.versions import Versions, merge_versions, read_versions, versions_schema
from recsys.errors import InputError
from recsys.schema import CATALOG, QUARANTINE


def spec(text: str = "{name}. {group}", **options: Any) -> ItemsInput:
    columns = {"item_id": "sku", **options.pop("columns", {})}
    return ItemsInput(path="unused", text=text, columns=columns, **options)


def versions(rows: list[dict[str, Any]], items: ItemsInput, order: int = 0) -> Versions:
    found = read_versions(pa.Table.from_pylist(rows), "f.csv", item_version_spec(items), 10, order)
    assert found.versions.schema == versions_schema(item_version_spec(items))
    assert found.quarantined.schema == QUARANTINE
    assert found.num_read == len(rows) == found.versions.num_rows + found.quarantined.num_rows + found.num_filtered
    return found


def catalog(rows: list[dict[str, Any]], items: ItemsInput) -> list[dict[str, Any]]:
    built = build_catalog(merge_versions([versions(rows, items).versions]), items)
    assert built.schema == CATALOG
    built.validate(full=True)
    return [row | {"attributes": dict(row["attributes"])} for row in built.to_pylist()]


def test_an_item_becomes_text_and_attributes() -> None:
    (item,) = catalog([{"sku": 7.0, "name": " Red\n\tbox\x00 ", "group": "Cafe\u0301"}], spec())

    assert item["item_id"] == "7"
    assert item["text"] == "Red box. Café"
    assert item["available"] is True
    assert item["attributes"] == {"title": "Red box", "name": "Red box", "group": "Café"}
    assert len(item["text_hash"]) == 32


def test_the_latest_value_of_each_column_wins_unless_it_is_blank() -> None:
    rows = [
        {"sku": "b", "name": "old", "group": "g"},
        {"sku": "a", "name": "other", "group": None},
        {"sku": "b", "name": "new", "group": "\x00 "},
    ]

    items = catalog(rows, spec())

    assert [(item["item_id"], item["text"]) for item in items] == [("a", "other"), ("b", "new. g")]
    assert items[0]["attributes"] == {"title": "other", "name": "other"}


def test_a_timestamp_column_decides_what_is_latest() -> None:
    items = spec("{name}", columns={"timestamp": "when"})
    rows = [
        {"sku": "a", "name": "newest", "when": "2020-01-02"},
        {"sku": "a", "name": "older", "when": "2020-01-01"},
        {"sku": "a", "name": "broken", "when": "later"},
    ]

    assert [item["text"] for item in catalog(rows, items)] == ["newest"]
    assert versions(rows, items).quarantined["reason"].to_pylist() == ["unreadable_timestamp"]


@pytest.mark.parametrize(
    ("value", "available"),
    [
        ("true", True),
        ("FALSE", False),
        (1, True),
        (0, False),
        ("yes", True),
        (" no ", False),
        (False, False),
        (None, True),
        ("", True),
    ],
)
def test_availability(value: Any, available: bool) -> None:
    items = spec("{name}", columns={"available": "stock"})

    (item,) = catalog([{"sku": "a", "name": "x", "stock": value}], items)

    assert item["available"] is available


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"sku": None}, "sku", "missing_item"),
        ({"sku": "12345678901"}, "sku", "id_too_long"),
        ({"sku": "a\tb"}, "sku", "unprintable_id"),
        ({"stock": "perhaps"}, "stock", "unreadable_available"),
        ({"name": "x" * 100_001}, "name", "text_too_long"),
    ],
)
def test_bad_rows_are_set_aside(change: dict[str, Any], column: str, reason: str) -> None:
    good = {"sku": "a", "name": "x", "stock": "1"}

    found = versions([good, good | change], spec("{name}", columns={"available": "stock"}))

    assert found.versions.num_rows == 1
    (aside,) = found.quarantined.to_pylist()
    assert (aside["column"], aside["reason"], aside["source"]) == (column, reason, "f.csv")
    assert json.loads(aside["row"]).keys() == good.keys()


def test_filtered_rows_are_counted_and_positions_stay() -> None:
    rows = [{"sku": "a", "name": "x", "n": "0"}, {"sku": "a", "name": "y", "n": "1"}]

    found = versions(rows, spec("{name}", where="n > 0"), order=100)

    assert found.num_filtered == 1
    assert found.versions["order:name"].to_pylist() == [101]


def test_the_title_and_chosen_attributes() -> None:
    items = spec("{name}", attributes=["size", "title"], columns={"title": "label"})

    (item,) = catalog([{"sku": "a", "name": "n", "size": 3, "title": "not shown", "label": "Shown"}], items)

    assert item["attributes"] == {"title": "Shown", "size": "3"}


def test_an_item_with_an_empty_text_is_kept() -> None:
    (item,) = catalog([{"sku": "a", "name": None, "group": ""}], spec("A {name} of {group}."))

    assert (item["text"], item["attributes"]) == ("", {})


def test_text_is_cut_between_characters_and_the_same_text_has_the_same_hash() -> None:
    items = spec("{name}", max_text_chars=4)

    one, two = catalog([{"sku": "a", "name": "äöü 𝄞𝄞"}, {"sku": "b", "name": "äöü  x"}], items)
    longer, _ = catalog([{"sku": "a", "name": "äöü𝄞𝄞"}, {"sku": "b", "name": ""}], items)

    assert (one["text"], two["text"], longer["text"]) == ("äöü", "äöü", "äöü𝄞")
    assert one["text_hash"] == two["text_hash"] != longer["text_hash"]


def test_no_items_make_an_empty_catalog() -> None:
    items = spec()
    table = pa.table({name: pa.array([], pa.string()) for name in ("sku", "name", "group")})

    built = build_catalog(merge_versions([read_versions(table, "f", item_version_spec(items), 10, 0).versions]), items)

    assert built.schema == CATALOG
    assert built.num_rows == 0
    assert read_versions(pa.table({}), "f", item_version_spec(items), 10, 0).num_read == 0


def test_missing_columns_are_named() -> None:
    with pytest.raises(
        InputError, match=r"inputs\.items\.text: column 'group' is not in f\.csv; its columns are sku, name"
    ):
        read_versions(pa.table({"sku": ["a"], "name": ["x"]}), "f.csv", item_version_spec(spec()), 10, 0)


@given(
    st.lists(
        st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs", "Cn"]), max_size=20),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 9),
)
def test_texts_are_clean(names: list[str], limit: int) -> None:
    items = spec("{name}", max_text_chars=limit)

    for item in catalog([{"sku": str(index), "name": name} for index, name in enumerate(names)], items):
        text = item["text"]
        assert len(text) <= limit
        assert unicodedata.is_normalized("NFC", text)
        assert text == " ".join(text.split())
        assert not any(unicodedata.category(character) == "Cc" for character in text)


def test_markup_is_neither_read_nor_shown() -> None:
    items = spec("{name}. {group}", columns={"title": "name"})
    (item,) = catalog([{"sku": "a", "name": "<b>Tom</b> &amp; Jerry", "group": "<br>"}], items)
    assert item["text"] == "Tom & Jerry"
    assert item["attributes"] == {"title": "Tom & Jerry", "name": "Tom & Jerry"}
