"""Attributes that must hold, and titles by their words."""

import numpy as np
import pyarrow as pa
import pytest

from recsys.schema import CATALOG
from recsys.serving.request_filters import ItemFilters

ITEMS = [
    ("RED HEART LANTERN", {"category": "lights", "colour": "red"}),
    ("Lantern", {"category": "lights"}),
    ("Blue Vase", {"category": "glass", "colour": "blue"}),
    ("Étagère", {}),
]


@pytest.fixture(scope="module")
def filters() -> ItemFilters:
    rows = [
        {"item_id": f"i{n}", "text": title, "available": True, "attributes": list(attributes.items()), "text_hash": ""}
        for n, (title, attributes) in enumerate(ITEMS)
    ]
    return ItemFilters(pa.Table.from_pylist(rows, schema=CATALOG), pa.array([title for title, _ in ITEMS]))


@pytest.mark.parametrize(
    ("wanted", "passing"),
    [
        ({}, [0, 1, 2, 3]),
        ({"category": "lights"}, [0, 1]),
        ({"category": ["lights", "glass"], "colour": "blue"}, [2]),
        ({"colour": "green"}, []),
    ],
)
def test_items_with_one_of_the_values_pass(filters, wanted, passing):
    assert filters.fault(wanted) is None
    assert np.flatnonzero(filters.passing(wanted)).tolist() == passing


def test_an_attribute_that_no_item_has_is_named(filters):
    field, message = filters.fault({"category": "lights", "size": "9"})
    assert field == "filters.size"
    assert message == "no item has an attribute 'size'; the attributes are category, colour"


@pytest.mark.parametrize(
    ("text", "found"),
    [("lantern", [1, 0]), ("heart RED", [0]), ("étag", [3]), ("sofa", []), ("l", [1, 2, 0]), ("(", [])],
)
def test_titles_hold_every_word_and_the_shortest_comes_first(filters, text, found):
    assert filters.titled(text, 10).tolist() == found
    assert filters.titled(text, 1).tolist() == found[:1]
