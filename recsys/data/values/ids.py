"""Ids of users and items: read from cells of any type, checked, and joined with the ids of the catalog."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import Reason
from recsys.data.checks.row_checks import RowFault, flags
from recsys.data.values.cells import as_text, one_chunk
from recsys.data.values.missing_values import missing_pattern
from recsys.errors import InputError

#: Characters without a width, such as the byte-order mark of a file.
_NO_WIDTH = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u202a\u202b\u202c\u202d\u202e"
#: They and blanks at the ends of an id, for Arrow and for Python.
_INVISIBLE = rf"[\s\p{{Z}}{_NO_WIDTH}]+"
_ENDS = _NO_WIDTH + "".join(filter(str.isspace, map(chr, range(0x3001))))
_UNPRINTABLE = r"[\p{Cc}\x{2028}\x{2029}]"
#: How spreadsheets show long numbers: `1.23457E+11`.
_LOST_DIGITS = r"^[+-]?\d(?:[.,]\d+)?[eE]\+\d+$"
#: Largest number up to which a float of so many bits holds all whole numbers.
_EXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
_UNREADABLE = "\ufffd"
_WHOLE, _POINT_ZERO = r"^-?\d+$", r"^(-?\d+)\.0+$"


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids [N] of a column."""

    values: Any
    """Text; null where missing."""
    faults: list[RowFault]
    """Faults of ids that are not missing."""


def read_ids(table: pa.Table, column: str, max_id_chars: int, missing_values: Sequence[str]) -> Ids:
    """Ids as text in the Unicode form NFC, without blanks and invisible characters around it.

    The numbers 17850 and 17850.0 become "17850". Texts stay as they are: "00123" is not "123".

    Raises:
        InputError: values of the column's type cannot be ids, such as lists.
    """
    kind = table[column].type
    if pa.types.is_nested(kind):
        raise InputError(
            f"column {column!r} is {kind}; an id must be text or a number: write one row for each value of a list"
        )
    ids, faults = _read_cells(table[column], column)
    if pa.types.is_integer(kind):
        return Ids(ids, [])
    plain = pc.all(pc.string_is_ascii(ids)).as_py() is not False
    ids = pc.utf8_trim_whitespace(ids) if plain else _visible(ids)
    lengths = pc.binary_length(ids) if plain else pc.utf8_length(ids)
    faults.append(RowFault(Reason.ID_TOO_LONG, column, flags(pc.greater(lengths, max_id_chars))))
    missing = rf"^(?:{missing_pattern(tuple(missing_values))})?$" if missing_values else "^$"
    strange = pc.match_substring_regex(ids, pattern=f"{_UNPRINTABLE}|{_LOST_DIGITS}|{missing}")
    if pc.any(strange).as_py():  # most columns end here, after one search
        for reason, pattern in ((Reason.UNPRINTABLE_ID, _UNPRINTABLE), (Reason.LOST_DIGITS, _LOST_DIGITS)):
            faults.append(RowFault(reason, column, flags(pc.match_substring_regex(ids, pattern=pattern))))
        ids = pc.if_else(pc.match_substring_regex(ids, pattern=missing), pa.scalar(None, pa.string()), ids)
    return Ids(ids, faults)


def normal_id(text: str) -> str:
    """One id that a caller names, spelled as `read_ids` spells the ids of a night.

    A text of nothing but blanks stays as it is: it is the id of nobody.
    """
    return unicodedata.normalize("NFC", text.strip(_ENDS)) or text


def join_ids(ids: Any, known: pa.Array) -> tuple[Any, Any]:
    """Ids [N] as the catalog writes them, and which of them it knows.

    A number that some program wrote with `.0`, because other rows of its column are empty, is joined with the number
    without it, in either direction. Where the catalog has both, they are two items.
    """
    found = flags(pc.is_in(ids, value_set=known))
    unknown = ~found & flags(pc.is_valid(ids))
    if not unknown.any():
        return ids, found
    unknown_ids = pc.unique(ids.filter(pa.array(unknown)))
    others = pc.if_else(
        pc.match_substring_regex(unknown_ids, pattern=_WHOLE),
        pc.binary_join_element_wise(unknown_ids, ".0", ""),
        pc.replace_substring_regex(unknown_ids, pattern=_POINT_ZERO, replacement=r"\1"),
    )
    others = pc.if_else(pc.is_in(others, value_set=known), others, pa.scalar(None, pa.string()))
    joined = others.take(one_chunk(pc.index_in(ids, value_set=unknown_ids, skip_nulls=True)))
    return pc.coalesce(joined, ids), found | np.asarray(pc.is_valid(joined))


def _read_cells(values: Any, column: str) -> tuple[Any, list[RowFault]]:
    """Texts [N] of cells, and what their type has lost: digits of large floats, and bytes that are not text."""
    kind, texts = values.type, as_text(values)
    if pa.types.is_floating(kind):
        size = pc.abs(pc.cast(values, pa.float64()))
        return texts, [RowFault(Reason.LOST_DIGITS, column, flags(pc.greater(size, _EXACT[kind.bit_width])))]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        unreadable = pc.and_(pc.is_valid(values), pc.is_null(texts))
        texts = pc.if_else(unreadable, _UNREADABLE, texts)  # the id is there, unlike a missing one
        return texts, [RowFault(Reason.INVALID_ENCODING, column, flags(unreadable))]
    return texts, []


def _visible(ids: Any) -> Any:
    trimmed = pc.replace_substring_regex(ids, pattern=f"^{_INVISIBLE}|{_INVISIBLE}$", replacement="")
    return pc.utf8_normalize(pc.utf8_trim_whitespace(trimmed), form="NFC")
