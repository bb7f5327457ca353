from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys.data.checks.quarantine import Reason
from recsys.data.values.ids import join_ids, normal_id, read_ids
from recsys.data.values.missing_values import MISSING_VALUES


def read(values: Any, **options: Any) -> list[Any]:
    """Ids of a column; the reason where one is bad."""
    column = pa.chunked_array([values if isinstance(values, pa.Array) else pa.array(values)])
    found = read_ids(pa.table({"id": column}), "id", **{"max_id_chars": 30, "missing_values": MISSING_VALUES} | options)
    ids: list[Any] = found.values.to_pylist()
    for fault in reversed(found.faults):
        for row in fault.rows.nonzero()[0]:
            ids[row] = fault.reason
    return ids


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([17850, None], ["17850", None]),
        ([17850.0, float("nan"), 1.5], ["17850", None, "1.5"]),
        (["00123", "123", "17850.0"], ["00123", "123", "17850.0"]),  # texts stay as they are
        ([" a ", "\ta\n", "", "  "], ["a", "a", None, None]),
        (["\ufeffa", "\u00a0b\u202f", "c\u200b", "\u200e d\u200f"], ["a", "b", "c", "d"]),
        (["\u200b", "e"], [None, "e"]),
        (["cafe\u0301", "caf\u00e9"], ["caf\u00e9", "caf\u00e9"]),
        (
            ["\U0001f468\u200d\U0001f469", "\u05d0\u05d1", "\u6f22"],
            ["\U0001f468\u200d\U0001f469", "\u05d0\u05d1", "\u6f22"],
        ),
        (["a\x00b", "a\u2028b", "x" * 31], [Reason.UNPRINTABLE_ID, Reason.UNPRINTABLE_ID, Reason.ID_TOO_LONG]),
        (["1.23457E+11", "1,23457e+11", "4E+15"], [Reason.LOST_DIGITS] * 3),
        (["12E5", "1e", "E+11", "1.2.3E+11"], ["12E5", "1e", "E+11", "1.2.3E+11"]),  # article numbers
        ([1.2345678901234567e17, 2.0**53], [Reason.LOST_DIGITS, "9007199254740992"]),
        (pa.array([2.0**24, 2.0**24 + 2, float("inf")], pa.float32()), ["16777216", *[Reason.LOST_DIGITS] * 2]),
        (pa.array([b"u1", b"\xff\xfe", None]), ["u1", Reason.INVALID_ENCODING, None]),
        (pa.array([bytes(range(200, 216))], pa.binary(16)), [Reason.INVALID_ENCODING]),
        (pa.array([2**63 - 1, 0]), ["9223372036854775807", "0"]),
        (pa.array([123456789012345678]).cast(pa.decimal128(24, 2)), ["123456789012345678"]),
    ],
)
def test_ids_are_text(values: Any, ids: list[Any]) -> None:
    assert read(values) == ids


@pytest.mark.parametrize(
    "word",
    [
        "NULL",
        "null",
        "Null",
        r"\N",
        "nan",
        "NaN",
        "NAN",
        "None",
        "none",
        "NA",
        "N/A",
        "#N/A",
        "<NA>",
        "(null)",
        " nil ",
    ],
)
def test_words_for_nothing_are_missing(word: str) -> None:
    assert read([word, "nullable", "Nona", "x" + word.strip()]) == [None, "nullable", "Nona", "x" + word.strip()]
    assert read([word], missing_values=[]) == [word.strip()]


def test_the_words_can_be_set() -> None:
    assert read(["?", "-1", "-10", "NULL", ""], missing_values=["?", "-1"]) == [None, None, "-10", "NULL", None]


@pytest.mark.parametrize(
    ("ids", "known", "joined"),
    [
        (["17850.0", "17850", "17850.00", None], ["17850"], ["17850", "17850", "17850", None]),
        (["17850", "17851"], ["17850.0"], ["17850.0", None]),
        (["17850", "17850.0"], ["17850", "17850.0"], ["17850", "17850.0"]),  # two items
        (["00123", "123.50", "v1.0"], ["123", "v1"], [None, None, None]),
        ([None], ["a"], [None]),
    ],
)
def test_numbers_with_a_point_and_a_zero_are_joined(ids: Any, known: list[str], joined: Any) -> None:
    found, is_known = join_ids(pa.chunked_array([pa.array(ids, pa.string())]), pa.array(known))

    assert [item if good else None for item, good in zip(found.to_pylist(), is_known, strict=True)] == joined
    assert [bool(good) for good in is_known] == [item is not None for item in joined]


@given(
    st.text(st.sampled_from("ae\u0301\u00e9 \u00a0\ufeff\u200b\u202e\u2029\u3000\u212b\t\n"), min_size=1)
    | st.text(min_size=1)
)
@example(" cafe\u0301\u200b")
@example("\u200b")
def test_an_id_that_a_caller_names_is_spelled_as_the_night_spells_it(text: str) -> None:
    spelled = read_ids(pa.table({"id": [text]}), "id", 1000, missing_values=[]).values[0].as_py()
    assert normal_id(text) == (text if spelled is None else spelled)
