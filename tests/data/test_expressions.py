import operator
import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.expressions import Filter
from recsys.errors import ConfigError, InputError

TABLE = pa.table(
    {
        "Quantity": ["1", "-2", "many", None],
        "size": [1, 2, 3, None],
        "price": [1.5, float("nan"), 2.0, 3.0],
        "user id:token": ["a", "B", "C1", "c"],
        "day": pa.array([0, 14_000, 15_000, None], pa.date32()),
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Quantity > 0", [0]),
        ("not Quantity > 0", [1]),  # what cannot be read as a number is unknown, and so is its opposite
        ("Quantity is null", [3]),
        ("size is not None", [0, 1, 2]),
        ("price is null", [1]),
        ("1 <= size < 3", [0, 1]),
        ("Quantity in (1, -2)", [0, 1]),
        ("Quantity not in [1]", [1]),
        ("size in ('1', '2')", [0, 1]),
        ("size == '1'", [0]),
        ("size != 'big'", [0, 1, 2]),
        ("-Quantity + 1 == size + 1", [1]),
        ("size / 0 > 0 or size / 0 <= 0", []),
        ("`user id:token` == 'B'", [1]),
        ('startswith(lower(col("user id:token")), "c")', [2, 3]),
        ("contains(`user id:token`, '1') or size == 1", [0, 2]),
        ("Quantity == 'many' and size > 100", []),
        ("Quantity == 'many' or size > 100", [2]),
        ("day >= '2008-05-01'", [1, 2]),
        ("  Quantity > 0\n  and size > 0", [0]),
        ("Quantity != '`'", [0, 1, 2]),
        ("true", [0, 1, 2, 3]),
        ("1 > 2", []),
        ("size < 99999999999999999999999", [0, 1, 2]),
    ],
)
def test_rows_that_pass(text: str, rows: list[int]) -> None:
    mask = Filter.parse(text).mask(TABLE)

    assert mask.type == pa.bool_()
    assert mask.null_count == 0
    assert [row for row, passes in enumerate(mask.to_pylist()) if passes] == rows


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("Quantity >", 1, "invalid syntax"),
        ("Quantity = 1", 1, "compare with =="),
        ("size > 1 and __import__('os')", 14, "functions are"),
        ("`a b` == size.real", 10, "size.real"),
        ("é == 1 and x[0] > 1", 12, "x[0]"),
        ("1 + 2", 1, "not a condition"),
        ("a and 1", 7, "not a condition"),
        ("a == null", 6, "is null"),
        ("a is 5", 6, "is null"),
        ("a in b", 6, "needs a list"),
        ("a in (1, null)", 10, "is null"),
        ("startswith(a, b)", 15, "quoted text"),
        ("'x' * 2 > 1", 1, "not a number"),
        ("a ** 9 > 1", 1, "not part"),
        ("a == b'x'", 6, "not part"),
        ("+".join(["1"] * 500) + " > a", 1, "deeper than"),
        ("(" * 500 + "a" + ")" * 500, 1, "parenthes"),
        ("", 0, "empty"),
    ],
)
def test_what_is_not_in_the_language_is_named_with_its_place(text: str, position: int, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        Filter.parse(text)

    assert repr(text) in str(error.value)
    assert problem in str(error.value)
    if position and "invalid" not in problem and "compare" not in problem and len(text) < 100:
        assert f"at character {position}:" in str(error.value)


def test_columns_are_those_read() -> None:
    parsed = Filter.parse("`odd name` > 0 and (lower(b) == 'x' or c is null) and col('d.e') in (1, 2)")

    assert parsed.columns == {"odd name", "b", "c", "d.e"}
    assert pickle.loads(pickle.dumps(parsed)).columns == parsed.columns  # noqa: S301 - our own bytes


def test_an_unknown_column_names_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"'zz'.*Quantity, size, price, user id:token, day"):
        Filter.parse("zz > 1").mask(TABLE)


_NUMBERS = st.one_of(st.none(), st.integers(-3, 3))
_OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=1), st.sampled_from(sorted(_OPERATORS)), st.integers(-3, 3))
def test_text_columns_compare_as_the_numbers_they_spell(rows: list[tuple[Any, Any]], sign: str, bound: int) -> None:
    table = pa.table(
        {
            "text": pa.array([None if a is None else str(a) for a, _ in rows], pa.string()),
            "number": pa.array([b for _, b in rows], pa.int64()),
        }
    )
    compare = _OPERATORS[sign]

    def known(*values: Any) -> bool:
        return None not in values

    assert Filter.parse(f"text {sign} {bound}").mask(table).to_pylist() == [
        known(a) and compare(a, bound) for a, _ in rows
    ]
    assert Filter.parse(f"not text {sign} number").mask(table).to_pylist() == [
        known(a, b) and not compare(a, b) for a, b in rows
    ]


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parsed = Filter.parse(text)
    except ConfigError:
        return
    assert parsed.text == text
