"""Texts from templates, and their hashes."""

import pyarrow as pa
import pytest

from recsys.data.texts import filled_template, hash_texts, template_columns
from recsys.errors import ConfigError


@pytest.mark.parametrize("text", ["{a.b}", "{a[0]}", "{a!r}", "{a:>5}", "{}", "{a", "a}", "no column", ""])
def test_bad_templates(text: str) -> None:
    with pytest.raises(ConfigError, match=r"inputs\.items\.text"):
        template_columns(text)


def test_templates_name_columns_once_and_may_hold_braces() -> None:
    assert template_columns("{b} {{x}} {a name} {b}") == ["b", "a name"]
    filled = filled_template("{{{name}}} {{x}}", "key", {"name": pa.array(["n", ""])}, 2, 100)
    assert filled.to_pylist() == ["{n} {x}", ""], "the template's own words alone say nothing"


def test_equal_texts_have_equal_hashes() -> None:
    first, second, again = hash_texts(pa.chunked_array([["a", "b"], ["a"]])).to_pylist()
    assert first == again != second
    assert len(first) == 32
