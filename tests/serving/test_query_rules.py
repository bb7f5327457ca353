"""Searches in plain words, taken apart. The cases were written by hand before the rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.serving.query_rules import read_query

#: Search → (text, unwanted, lowest, highest, level).
CASES = {
    "cheap red lamp, no glass": ("red lamp", ["glass"], None, None, "low"),
    "lamp without glass or plastic for the garden": ("lamp for the garden", ["glass", "plastic"], None, None, None),
    "red mug but not pink": ("red mug", ["pink"], None, None, None),
    "wooden toys -plastic": ("wooden toys", ["plastic"], None, None, None),
    "bag not made of leather": ("bag", ["leather"], None, None, None),
    "lamp that is not red": ("lamp", ["red"], None, None, None),
    "no polka dot, tea towels please": ("tea towels", ["polka dot"], None, None, None),
    "everything except candles": ("everything", ["candles"], None, None, None),
    "vase under £20": ("vase", [], None, 20.0, None),
    "lunch box, no dinosaurs, up to 5 pounds": ("lunch box", ["dinosaurs"], None, 5.0, None),
    "gift between 10 and 20 euros": ("gift", [], 10.0, 20.0, None),
    "tea towels from 3 to 6 €": ("tea towels", [], 3.0, 6.0, None),
    "around $15 scarf, not wool": ("scarf", ["wool"], 12.0, 18.0, None),
    "sofa under 1,200 euros": ("sofa", [], None, 1200.0, None),
    "mug at most 3.50": ("mug", [], None, 3.5, None),
    "table over 100 eur": ("table", [], 100.0, None, None),
    "something not too expensive for a child": ("something for a child", [], None, None, "low"),
    "expensive necklace": ("necklace", [], None, None, "high"),
    "not more than 8 pounds, not red": ("", ["red"], None, 8.0, None),
    "no glass": ("", ["glass"], None, None, None),
    # the other way round
    "lamp no less than 20": ("lamp", [], 20.0, None, None),
    "lamp not  under 20": ("lamp", [], 20.0, None, None),
    "bag not above 20": ("bag", [], None, 20.0, None),
    "nothing over 50": ("", [], None, 50.0, None),
    "vase not more expensive than 20": ("vase", [], None, 20.0, None),
    "less expensive headphones": ("headphones", [], None, None, "low"),
    "the least expensive phone": ("the phone", [], None, None, "low"),
    "a watch that isn't expensive": ("a watch", [], None, None, "low"),
    "watch, not that expensive": ("watch", [], None, None, "low"),
    "don't want anything too expensive": ("", [], None, None, "low"),
    "whisky, not the cheapest": ("whisky", [], None, None, "high"),
    "most expensive watch": ("watch", [], None, None, "high"),
    "lamp, no cheap plastic": ("lamp", ["cheap plastic"], None, None, None),
    "no expensive lamps": ("", ["expensive lamps"], None, None, None),
    "lamp that isn't red": ("lamp", ["red"], None, None, None),
    # large prices
    "laptop under $1,299.99": ("laptop", [], None, 1299.99, None),
    "sofa over 1.299,50 €": ("sofa", [], 1299.5, None, None),
    "sofa around $2000": ("sofa", [], 1600.0, 2400.0, None),
    # what is no wish
    "dark chocolate over 70% cocoa": ("dark chocolate over 70% cocoa", [], None, None, None),
    "milk under 2 % fat": ("milk under 2 % fat", [], None, None, None),
    'screen over 55" oled': ('screen over 55" oled', [], None, None, None),
    "bag, not more than 3 kg": ("bag, not more than 3 kg", [], None, None, None),
    "toys for kids under 5": ("toys for kids under 5", [], None, None, None),
    "films from 1990 to 1999": ("films from 1990 to 1999", [], None, None, None),
    "book about 1984": ("book about 1984", [], None, None, None),
    "vase under 30 cm": ("vase under 30 cm", [], None, None, None),
    "toys for kids under 3 years": ("toys for kids under 3 years", [], None, None, None),
    "at least 2 litres jug": ("at least 2 litres jug", [], None, None, None),
    "no. 5 candle": ("no. 5 candle", [], None, None, None),
    "hands-free kit": ("hands-free kit", [], None, None, None),
    "non-slip bath mat": ("non-slip bath mat", [], None, None, None),
    "christmas tree decoration": ("christmas tree decoration", [], None, None, None),
}


@pytest.mark.parametrize("query", CASES)
def test_a_search_is_taken_apart(query: str) -> None:
    text, unwanted, lowest, highest, level = CASES[query]
    found = read_query(query)
    assert (found.text, list(found.unwanted), found.lowest, found.highest, found.level) == (
        text,
        unwanted,
        lowest,
        highest,
        level,
    )


def test_without_prices_in_the_catalog_words_about_them_are_text() -> None:
    found = read_query("cheap lamp under 20, no glass", prices=False)
    assert (found.text, found.unwanted, found.highest, found.level) == ("cheap lamp under 20", ("glass",), None, None)


def test_a_name_is_no_wish() -> None:
    assert read_query("no doubt cd", ["no doubt"]).text == "no doubt cd"
    assert read_query("no doubt cd").unwanted == ("doubt cd",)


@given(st.text(max_size=80))
def test_any_text_is_taken_apart_and_nothing_is_made_up(query: str) -> None:
    found = read_query(query)
    letters = set(query.lower())
    assert set(found.text.lower()) <= letters | {" "}
    assert all(set(phrase) <= letters | {" "} for phrase in found.unwanted)
    assert found.lowest is None or found.highest is None or found.lowest <= found.highest or "under" in query.lower()
    assert not read_query(found.text).unwanted or found.text
