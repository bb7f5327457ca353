"""Items by their attributes, and by the words of their titles."""

import numpy as np
import pyarrow as pa
import pytest

from recsys.schema import CATALOG
from recsys.serving.live_catalog import LiveCatalog

ITEMS = [
    ("RED HEART LANTERN", {"category": "lights", "colour": "red"}),
    ("Lantern", {"category": "lights"}),
    ("Blue Vase", {"category": "glass", "colour": "blue"}),
    ("Étagère", {}),
]


@pytest.fixture(scope="module")
def catalog() -> LiveCatalog:
    rows = [
        {"item_id": f"i{n}", "text": title, "available": True, "attributes": list(attributes.items()), "text_hash": ""}
        for n, (title, attributes) in enumerate(ITEMS)
    ]
    ids, titles = pa.array([row["item_id"] for row in rows]), pa.array([title for title, _ in ITEMS])
    return LiveCatalog(ids, titles, pa.Table.from_pylist(rows, schema=CATALOG))


@pytest.mark.parametrize(
    ("wanted", "passing"),
    [
        ({}, [0, 1, 2, 3]),
        ({"category": "lights"}, [0, 1]),
        ({"category": ["lights", "glass"], "colour": "blue"}, [2]),
        ({"colour": "green"}, []),
    ],
)
def test_items_with_one_of_the_values_pass(catalog, wanted, passing):
    assert catalog.filter_error(wanted) is None
    assert np.flatnonzero(catalog.passing(wanted)).tolist() == passing


def test_an_attribute_that_no_item_has_is_named(catalog):
    field, message = catalog.filter_error({"category": "lights", "size": "9"})
    assert field == "filters.size"
    assert message == "no item has an attribute 'size'; the attributes are category, colour"


@pytest.mark.parametrize(
    ("text", "found"),
    [("lantern", [1, 0]), ("heart RED", [0]), ("étag", [3]), ("sofa", []), ("l", [1, 2, 0]), ("(", [])],
)
def test_found_titles_contain_every_word_and_the_shortest_comes_first(catalog, text, found):
    expected = [(f"i{n}", ITEMS[n][0]) for n in found]
    assert catalog.search_titles(text, 10) == expected
    assert catalog.search_titles(text, 1) == expected[:1]


def test_known_ids_have_an_index_and_a_title_and_unknown_ids_have_none(catalog):
    assert catalog.indices(pa.array(["i2", "nope", "i0"])).tolist() == [2, -1, 0]
    assert catalog.titles_of(pa.array(["i2", "i0"])) == ["Blue Vase", "RED HEART LANTERN"]
