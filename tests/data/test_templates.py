"""Texts from templates: pieces without a value drop out; hashes of texts."""

import re
import string

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.values.templates import filled_template, may_name, template_columns
from recsys.data.values.texts import clean_text, hash_texts
from recsys.errors import ConfigError


def fill(template: str, **values: str | None) -> str:
    """The text of one row."""
    columns = {name: pa.array([value], pa.string()) for name, value in values.items()}
    return str(filled_template(template, "key", columns, 1, 1000)[0].as_py())


@pytest.mark.parametrize("text", ["{a!r}", "{a:>5}", "{}", "{a", "a}", "no column", ""])
def test_bad_templates(text: str) -> None:
    with pytest.raises(ConfigError, match=r"inputs\.items\.text"):
        template_columns(text)


def test_templates_name_columns_once_and_may_hold_braces() -> None:
    assert template_columns("{b} {{x}} {a name} {b}") == ["b", "a name"]
    assert template_columns("{brand.name}. {Price [EUR]}") == ["brand.name", "Price [EUR]"], "fields of objects, units"
    filled = filled_template("{{{name}}} {{x}}", "key", {"name": pa.array(["n", ""])}, 2, 100)
    assert filled.to_pylist() == ["{n} {x}", ""], "the template's own words alone say nothing"


@pytest.mark.parametrize("column", ["a name", "brand.name", "Price [EUR]", "0"])
def test_most_columns_may_be_named(column: str) -> None:
    assert may_name(column)
    assert fill(f"{{{column}}}!", **{column: "x"}) == "x!"


@pytest.mark.parametrize("column", ["", "a:b", "Wow!", "{a", "b}", "a[b"])
def test_some_columns_may_not(column: str) -> None:
    assert not may_name(column)


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("By {author}. Price: {price} EUR", {"author": "Ann", "price": "3"}, "By Ann. Price: 3 EUR"),
        ("By {author}. Price: {price} EUR", {"author": None, "price": "3"}, "Price: 3 EUR"),
        ("By {author}. Price: {price} EUR", {"author": "Ann", "price": ""}, "By Ann"),
        ("By {author}. Price: {price} EUR", {"author": "", "price": None}, ""),
        ("By {author}. Price: {price} EUR", {"author": " . ", "price": "-"}, ""),
        ("By {author}. Price: {price} EUR", {"author": "?", "price": "€"}, "By ?. Price: € EUR"),
        ("{title}. {category}", {"title": "Lamp", "category": None}, "Lamp"),
        ("{title}. {category}", {"title": None, "category": "Light"}, "Light"),
        ("{title}. ${price}", {"title": None, "price": "5"}, "$5"),
        ("{title} ({year})", {"title": "Toy Story", "year": None}, "Toy Story"),
        ("{title} ({year})", {"title": None, "year": "1995"}, "(1995)"),
        ("{title} ({year}, {genre})", {"title": "Toy Story", "year": None, "genre": "Comedy"}, "Toy Story (Comedy)"),
        ("{title} ({year}): {genre}", {"title": "Toy Story", "year": None, "genre": "Comedy"}, "Toy Story: Comedy"),
        ("{title}: {genre}", {"title": None, "genre": "Comedy"}, "Comedy"),
        ("{title} by {author}", {"title": "Dune", "author": None}, "Dune"),
        ("{brand} {model} {color}", {"brand": "A", "model": None, "color": "red"}, "A red"),
        ("{brand} {model} {color}", {"brand": None, "model": "B", "color": None}, "B"),
        ("Title: {title} Author: {author}", {"title": None, "author": "Ann"}, "Author: Ann"),
        ("{top}/{middle}/{leaf}", {"top": "a", "middle": None, "leaf": "c"}, "a/c"),
        ("{top}/{middle}/{leaf}", {"top": None, "middle": "b", "leaf": None}, "b"),
        ("{a} - {b} | {c}", {"a": "x", "b": None, "c": "z"}, "x | z"),
        ("{a}\nSize: {b}\nColor: {c}", {"a": "x", "b": None, "c": "red"}, "x Color: red"),
        ("Price: ({price}). {name}", {"price": None, "name": "Lamp"}, "Lamp"),
        ("Shop item. {name}, {color}", {"name": None, "color": "red"}, "Shop item, red"),
        ("{name} (new) {color}", {"name": None, "color": "red"}, "(new) red"),
        (":) {a}, {b}", {"a": "x", "b": None}, ":) x"),
    ],
)
def test_pieces_without_a_value_drop_out(template: str, values: dict[str, str | None], text: str) -> None:
    assert fill(template, **values) == text


words = st.text(st.sampled_from("ab $:.,;!-|/()[]\n\0é"), max_size=6)
names = st.sampled_from(["title", "author", "price"])


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Any words and columns, with at least one column."""
    parts = draw(st.lists(st.tuples(words, names), min_size=1, max_size=5))
    return "".join(f"{literal}{{{name}}}" for literal, name in parts) + draw(words)


@given(templates(), st.lists(st.tuples(*[st.sampled_from(["x", "a. (b", "{c}"])] * 3), min_size=1, max_size=3))
def test_a_row_with_all_values_gets_the_whole_template(template: str, rows: list[tuple[str, str, str]]) -> None:
    columns = dict(
        zip(("title", "author", "price"), (pa.array(column) for column in zip(*rows, strict=True)), strict=True)
    )
    expected = [template.format(title=row[0], author=row[1], price=row[2]) for row in rows]
    assert (
        filled_template(template, "key", columns, len(rows), 1000).to_pylist()
        == clean_text(pa.array(expected)).to_pylist()
    )


@given(templates(), st.tuples(*[st.sampled_from([None, "x", "yy"])] * 3))
def test_any_row_keeps_its_values_in_order(template: str, row: tuple[str | None, ...]) -> None:
    """Nothing but words of the template goes, and rows do not depend on each other."""
    values = dict(zip(("title", "author", "price"), row, strict=True))
    text = fill(template, **values)
    used = [name for _, name, _, _ in string.Formatter().parse(template) if name]
    shown = [values[name] for name in used if values[name]]
    assert bool(text) == bool(shown)
    assert re.findall(r"x|yy", text) == shown
    columns = {name: pa.array([value, "z", None], pa.string()) for name, value in values.items()}
    assert filled_template(template, "key", columns, 3, 1000)[0].as_py() == text


def test_equal_texts_have_equal_hashes() -> None:
    first, second, again = hash_texts(pa.chunked_array([["a", "b"], ["a"]])).to_pylist()
    assert first == again != second
    assert len(first) == 32
