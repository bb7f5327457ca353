"""HTML in the texts of items: what is taken out, and what only looks like it."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.values.markup import without_markup
from recsys.data.values.texts import clean_text


def clean(text: str) -> str:
    (found,) = clean_text(without_markup(pa.chunked_array([[text]], pa.string()))).to_pylist()
    return str(found)


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("6&quot; Plush Mario", '6" Plush Mario'),
        ("Melissa &amp; Doug", "Melissa & Doug"),
        ("AT&T &amp; co", "AT&T & co"),
        ("AT&amp;amp;T", "AT&T"),  # escaped twice
        ("Caf&eacute;&nbsp;&#8211; it&#39;s &#x201C;good&#x201D;", "Café – it's “good”"),
        ("<b>Color:</b> red<br>blue<br/>green<BR />", "Color: red blue green"),
        ("H<sub>2</sub>O", "H2O"),
        ('<p class="x">One</p><p>Two</p>', "One Two"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("<a href='/x?a=1'>link</a> <img src=x.png alt=\"a b\"/>", "link"),
        ("a<!-- note -->b<script>alert('<p>')</script>c<style type='x'>p{}</style>", "a b c"),
        ("<br>", ""),
    ],
)
def test_markup_becomes_text(raw: str, seen: str) -> None:
    assert clean(raw) == seen


@pytest.mark.parametrize(
    "text",
    [
        "a < b", "a<b and c>d", "I <3 you", "C&A", "R&D", "Q&A; more", "x << y >> z", "5 > 3 & 2 < 4", "HTML5 <canvas>",
        "price<100", "vector<int>", "a <b and c> d", "?a=1&copy=2", "&unknown;", "&#99999999;", "<>", "</>", "<", "&",
        "&;",
    ],
)  # fmt: skip
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert clean(text) == text


def test_nulls_and_other_rows_stay() -> None:
    texts = pa.chunked_array([["a &amp; b", None], ["plain", "<b>x</b>"]], pa.string())
    assert without_markup(texts).to_pylist() == ["a & b", None, "plain", "x"]
    assert without_markup(pa.chunked_array([], pa.string())).to_pylist() == []
    assert without_markup(pa.chunked_array([[None]], pa.string())).to_pylist() == [None]


@given(st.text(st.characters(exclude_characters="&<")))
def test_a_text_without_the_two_signs_is_untouched(text: str) -> None:
    assert without_markup(pa.array([text])).to_pylist() == [text]


@given(st.text("<>&;abp/ =#1\"'!-"))
def test_every_text_gets_through(text: str) -> None:
    (found,) = without_markup(pa.array([text])).to_pylist()
    assert len(found) <= len(text)
