import pyarrow as pa
import pytest

from recsys.data.values.cells import as_boolean, as_number, as_text
from recsys.errors import InputError


@pytest.mark.parametrize("scale", [0, 2, 10, 18])
def test_decimals_are_the_numbers_that_they_hold(scale: int) -> None:
    """Spark and Oracle give ids as decimals of scale 10 or 18, whose zero Arrow writes as 0E-10."""
    numbers = pa.array([0, 7, -7, 17850, None]).cast(pa.decimal128(38, scale))
    assert as_text(numbers).to_pylist() == ["0", "7", "-7", "17850", None]
    assert as_boolean(numbers).to_pylist() == [False, *[None] * 4]


def test_cells_as_text_number_and_boolean() -> None:
    assert as_text(pa.array([17850.0, 1.5, float("nan"), 1e300, None])).to_pylist() == [
        "17850",
        "1.5",
        None,
        "1e+300",
        None,
    ]
    single = pa.array([19.99, 0.1, 2**24, -3.0, float("nan"), None], pa.float32())
    assert as_text(single).to_pylist() == ["19.99", "0.1", "16777216", "-3", None, None], "as it was written"
    assert as_text(pa.scalar(0.1, pa.float32())).as_py() == "0.1"
    assert as_text(pa.array([1.5, 2.0], pa.float16())).to_pylist() == ["1.5", "2"]
    assert as_text(pa.array([["a", "b"], None, []])).to_pylist() == ["a, b", None, ""]
    with_nulls = pa.chunked_array([[["a", None, "b"], None], [[None], ["c"]]], pa.large_list(pa.large_string()))
    assert as_text(with_nulls).to_pylist() == ["a, b", None, "", "c"], "a tag that is null hides no other"
    assert as_text(pa.array([b"ok", b"\xff"])).to_pylist() == ["ok", None]
    assert as_text(pa.array(["a", "b", "a"]).dictionary_encode()).to_pylist() == ["a", "b", "a"]
    assert as_number(pa.array([" 5 ", ".5", "1e3", "inf", "1,5", "0x1", ""])).to_pylist() == [
        5.0, 0.5, 1000.0, float("inf"), None, None, None,
    ]  # fmt: skip
    assert as_number(pa.array(["1,5", "1.234.567,25", "1 234", "-3", "2,5 EUR"]), ",").to_pylist() == [
        *(1.5, 1234567.25, 1234.0, -3.0),
        None,
    ]
    # Not in groups of three: a decimal point, or no number.
    assert as_number(pa.array(["12.3456", "1.23.456", "1.5", "1234.567"]), ",").to_pylist() == [
        *(12.3456, None, 1.5, 1234.567),
    ]
    words = ["T", "y", "on", "Ja", "oui", "sí", "f", "N", "off", "nein", "non", "não", "o", ""]
    assert as_boolean(pa.array(words)).to_pylist() == [True] * 6 + [False] * 6 + [None] * 2
    states = ["in stock", "in_stock", "InStock", "on backorder", "out of stock", "OUT_OF_STOCK", "sold-out", "archived"]
    assert as_boolean(pa.array(states)).to_pylist() == [True] * 4 + [False] * 4
    assert as_boolean(pa.array(["in  stock", "low stock", "in-", "1 0"])).to_pylist() == [None] * 4
    assert as_boolean(pa.array(["Yes", "FALSE", "1", "0.0", "maybe", None])).to_pylist() == [
        True,
        False,
        True,
        False,
        None,
        None,
    ]
    with pytest.raises(InputError, match="flatten"):
        as_text(pa.array([{"a": 1}]))
