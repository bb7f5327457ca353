"""Searches on a small catalog: what they exclude, and what is left to search for."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from recsys.schema import CATALOG
from recsys.serving.query_reader import QueryReader, ReadQuery
from recsys.serving.word_index import WordIndex

ITEMS = [
    ("Red glass lamp", {"price": "30.00"}),
    ("Red paper lamp", {"price": "£8.50"}),
    ("Blue lamp", {"price": "12", "material": "Glass"}),
    ("Glasses case", {"price": "4"}),
    ("Lamp", {}),
    ("No Doubt: Rock Steady", {"price": "9"}),
]


@pytest.fixture(scope="module")
def reader() -> QueryReader:
    return reader_of("price")


def reader_of(price: str | None, items: Sequence[tuple[str, dict[str, str]]] = ITEMS) -> QueryReader:
    rows = [
        {"item_id": f"i{n}", "text": title, "available": True, "attributes": list(attributes.items()), "text_hash": ""}
        for n, (title, attributes) in enumerate(items)
    ]
    return QueryReader(pa.array([title for title, _ in items]), pa.Table.from_pylist(rows, schema=CATALOG), price)


def left(found: ReadQuery) -> list[int]:
    return np.flatnonzero(~found.excluded).tolist()


@pytest.mark.parametrize(
    ("query", "text", "kept"),
    [
        ("lamp", "lamp", [0, 1, 2, 3, 4, 5]),
        ("lamp, no glass", "lamp", [1, 4, 5]),  # a plural counts, and so does an attribute
        ("lamp without red glass", "lamp", [1, 2, 3, 4, 5]),  # all words of a phrase
        ("lamp under 10", "lamp", [1, 3, 5]),  # without a price no promise is made
        ("lamp between 8 and 12", "lamp", [1, 2, 5]),
        ("cheap lamp", "lamp", [1, 3]),
        ("expensive lamp, not red", "lamp", [2]),
        ("no doubt", "no doubt", [0, 1, 2, 3, 4, 5]),  # the name of an item
        ("lamp, no velvet", "lamp", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_search_excludes_what_it_does_not_want(reader: QueryReader, query: str, text: str, kept: list[int]) -> None:
    found = reader.read(query)
    assert (found.text, left(found)) == (text, kept)
    assert (found.understood is None) == (text == query)


def test_the_reply_says_what_was_understood(reader: QueryReader) -> None:
    found = reader.read("lamp, no glass, under 10")
    assert found.understood is not None
    assert found.understood.model_dump() == {"text": "lamp", "unwanted": ["glass"], "lowest": None, "highest": 10.0}
    assert found.warnings == []


def test_a_search_that_no_item_fits_is_said(reader: QueryReader) -> None:
    found = reader.read("lamp over 1000")
    assert left(found) == []
    assert found.warnings == ["query: no item is as the search wants it"]


def test_a_search_that_only_excludes_is_searched_as_it_is(reader: QueryReader) -> None:
    assert reader.read("no glass").text == "no glass"


def test_without_a_price_its_words_are_text() -> None:
    found = reader_of(None).read("cheap lamp under 10, no glass")
    assert (found.text, left(found)) == ("cheap lamp under 10", [1, 4, 5])


def test_a_price_that_no_item_has_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert reader_of("cost").read("lamp under 10").text == "lamp under 10"
    assert "no item has a price in 'cost'" in caplog.text
    assert "the attributes are material, price" in caplog.text


def test_a_title_that_only_has_the_words_is_no_name() -> None:
    items = [("Casino Glass Lamp", {}), ("Plain Glass Lamp", {}), ("T-Shirt - Red", {}), ("No Glass Lamp", {})]
    reader = reader_of(None, items)
    assert left(reader.read("lamp no glass")) == [2]
    assert left(reader.read("t-shirt -red")) == [0, 1, 3]
    assert left(reader_of(None, items[3:]).read("lamp no glass")) == [0], (
        "most lamps with glass in the title are called so"
    )


def test_prices_are_read_as_people_write_them(caplog: pytest.LogCaptureFixture) -> None:
    prices = ["$1,299.00", "1299.00", "1.299,00 €", "1 299.00", "1,299", "1e+03", "12,99", "8.125", "10 to 20", "ask"]
    reader = reader_of("price", [("Sofa", {"price": price}) for price in prices])
    assert left(reader.read("sofa over 1,000")) == [0, 1, 2, 3, 4, 5]
    assert left(reader.read("sofa under 12.99")) == [6, 7]
    assert "of 2 items the price in 'price' is no number" in caplog.text


def test_the_words_of_no_item() -> None:
    index = WordIndex([], 0)
    assert index.having("lamp").shape == (0,)
    empty = WordIndex([pa.chunked_array([pa.array([None, ""], pa.string())])], 2)
    assert empty.having("lamp").tolist() == empty.having("").tolist() == [False, False]
