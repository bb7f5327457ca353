"""Read cells of any type as text, as numbers or as booleans."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import InputError

#: What product feeds and shop systems write of stock, without blanks, `_` and `-`. What is ordered ahead can be had.
_CAN_BE_HAD = ["instock", "available", "active", "enabled", "preorder", "backorder", "onbackorder"]
_CANNOT_BE_HAD = ["outofstock", "soldout", "unavailable", "inactive", "disabled", "discontinued", "draft", "archived"]
#: English, German, French, Spanish, Italian and Portuguese, as spreadsheets and databases write them; and stock.
_TRUE = pa.array(
    ["true", "t", "yes", "y", "on", "1", "1.0", "wahr", "ja", "j", "vrai", "oui", "sí", "si", "sì", "sim", *_CAN_BE_HAD]
)
_FALSE = pa.array(
    ["false", "f", "no", "n", "off", "0", "0.0", "falsch", "nein", "faux", "non", "não", "nao", *_CANNOT_BE_HAD]
)
_BETWEEN_THOUSANDS = r"[.\s\x{A0}\x{202F}]"
#: A number with a decimal comma whose digits are in groups of three: `1.234.567,8`.
_GROUPED = rf"^[+-]?\d{{1,3}}(?:{_BETWEEN_THOUSANDS}\d{{3}})+(?:,\d*)?$"
_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$|^[+-]?(?i:nan|inf|infinity)$"


def one_chunk(values: Any) -> pa.Array:
    """The column as one array."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def as_text(values: Any) -> Any:
    """Text of a column or scalar of any flat type: 7 → "7", 7.0 → "7", NaN → null; lists of text are joined by ", "."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if pa.types.is_string(kind):
        return values
    if isinstance(kind, pa.BaseExtensionType):  # such as a UUID: only its Python value gives the text
        return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
    if pa.types.is_floating(kind):
        return _float_text(values)
    if pa.types.is_decimal(kind):
        # Arrow writes the zero of a column with many decimals as 0E-10.
        return pc.replace_substring_regex(
            pc.cast(values, pa.string()), pattern=r"^(-?\d+)\.0+$|^(0)E-\d+$", replacement=r"\1\2"
        )
    if is_list_of_texts(kind):
        return _joined_lists(pc.cast(values, pa.list_(pa.string())))
    if pa.types.is_nested(kind):
        raise InputError(
            f"a column of type {kind} cannot be read as text; use a column of plain values, or flatten it first"
        )
    try:
        return pc.cast(values, pa.string())
    except pa.ArrowInvalid:  # some bytes are not UTF-8: read value by value, with null for those
        return pa.array([_decoded(value) for value in values.to_pylist()], pa.string())


def as_number(values: Any, decimal: str = ".") -> Any:
    """Numbers (float64) of a column or scalar. What is not a number is null; NaN and infinities stay.

    Args:
        values: Cells of any type.
        decimal: Decimal mark of texts. With `,` a point or a blank may stand between thousands: `1.234,5`.
    """
    kind = values.type
    if is_text(kind) or pa.types.is_dictionary(kind) or pa.types.is_binary(kind):
        text = pc.utf8_trim_whitespace(as_text(values))
        if decimal == ",":
            grouped = pc.match_substring_regex(text, pattern=_GROUPED)
            text = pc.if_else(grouped, pc.replace_substring_regex(text, _BETWEEN_THOUSANDS, ""), text)
            text = pc.replace_substring(text, ",", ".")
        readable = pc.match_substring_regex(text, pattern=_NUMBER)
        return pc.cast(pc.if_else(readable, text, pa.scalar(None, pa.string())), pa.float64())
    if pa.types.is_boolean(kind):
        return pc.cast(pc.cast(values, pa.int8()), pa.float64())
    if is_number(kind):
        return pc.cast(values, pa.float64(), safe=False)
    return _nulls_like(values, pa.float64())


def as_boolean(values: Any) -> Any:
    """Booleans of a column or scalar: true/false, t/f, yes/no, y/n, on/off, 1/0, in stock/out of stock and the like, in
    any case; anything else is null.
    """
    if pa.types.is_boolean(values.type):
        return values
    text = pc.utf8_lower(pc.utf8_trim_whitespace(as_text(values)))
    text = pc.replace_substring_regex(text, pattern=r"(\pL)[ _-](\pL)", replacement=r"\1\2")
    known = pc.or_(pc.is_in(text, value_set=_TRUE), pc.is_in(text, value_set=_FALSE))
    return pc.if_else(known, pc.is_in(text, value_set=_TRUE), pa.scalar(None, pa.bool_()))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers; booleans are not numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_list_of_texts(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of strings."""
    return bool((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and is_text(kind.value_type))


def _joined_lists(lists: Any) -> Any:
    """The texts of each list, without those that are null."""
    joined = pc.binary_join(lists, ", ")
    with_nulls = pc.and_(pc.is_valid(lists), pc.is_null(joined))  # Arrow gives null where one text is null
    if not pc.any(with_nulls).as_py():
        return joined
    mended = [", ".join(text for text in texts if text is not None) for texts in lists.filter(with_nulls).to_pylist()]
    return pc.replace_with_mask(one_chunk(joined), one_chunk(with_nulls), pa.array(mended, pa.string()))


def _float_text(values: Any) -> Any:
    wide = pc.cast(values, pa.float64())
    whole = pc.and_(pc.equal(wide, pc.trunc(wide)), pc.less(pc.abs(wide), 2.0**63))
    integers = pc.cast(pc.if_else(whole, wide, pa.scalar(None, pa.float64())), pa.int64())
    known = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)  # 0.1 of 32 bits is 0.10000000149 in 64
    return pc.coalesce(pc.cast(integers, pa.string()), pc.cast(known, pa.string()))


def _nulls_like(values: Any, kind: pa.DataType) -> Any:
    return pa.scalar(None, kind) if isinstance(values, pa.Scalar) else pa.nulls(len(values), kind)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
