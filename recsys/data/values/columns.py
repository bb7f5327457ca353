"""Checks on the column names of a file."""

import difflib
import re
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.cells import is_list_of_texts
from recsys.errors import InputError

#: A JSON list; `[7]` may be an id.
_LIST = r"(?s)^\[\s*(?:[\"{].*|.*,.*)?\]$"
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?$")
#: `2010-12-01` and `978300760` have so many digits; names of columns seldom do.
_DIGITS_OF_A_TIME = 8
_MOST_NAMES = 100


def require_columns(table_columns: Sequence[str], wanted: Iterable[str], path: str, key: str) -> None:
    """Check that a file has the columns that the config key `key` names.

    Raises:
        InputError: one is missing; names the key, the column, the file, a similar name and the columns it has.
    """
    for column in wanted:
        if column not in table_columns:
            known = (listed(table_columns) or "none") + if_values(table_columns)
            raise InputError(f"{key}: column {column!r} is not in {path}{_similar(column, table_columns)} {known}")


def require_plain_columns(table: pa.Table, wanted: Iterable[str], path: str, key: str) -> None:
    """Check that the columns that the config key `key` names have one plain value, or a list of texts, for each row.

    Raises:
        InputError: one is a struct, a map or another list; names the key, the file, and the fields or the way out.
    """
    for column in wanted:
        kind = table[column].type
        if pa.types.is_struct(kind):
            fields = [f"{column}.{field.name}" for field in kind.fields]
            raise InputError(
                f"{key}: column {column!r} of {path} is a struct; name one of its fields: {', '.join(fields)}"
            )
        if pa.types.is_nested(kind) and not is_list_of_texts(kind):
            raise InputError(
                f"{key}: column {column!r} of {path} is {kind}, not one value a row; name another column, or write one "
                "row for each value"
            )


def require_no_lists(table: pa.Table, ids: Iterable[str | None], path: str) -> None:
    """Check that columns of ids do not hold JSON lists as text, since each basket would be an item then.

    Raises:
        InputError: all values of one are lists; names the column, the file and the way out.
    """
    for column in {*ids} & {*table.column_names}:
        values = table[column].drop_null()
        if pa.types.is_string(values.type) and len(values) and pc.all(pc.match_substring_regex(values, _LIST)).as_py():
            raise InputError(f"{path}: column {column!r} holds a list in each row; write one row for each value of it")


def distinct_columns(names: Sequence[str], path: str) -> list[str]:
    """The names as they are, after a check that each of them is the name of one column only.

    Raises:
        InputError: two columns share a name.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        shown = ", ".join(map(repr, twice))
        raise InputError(f"{path}: more than one column is called {shown}; rename all but one{if_values(twice)}")
    return list(names)


def listed(names: Iterable[str]) -> str:
    """The names for a message, at most `_MOST_NAMES` of them."""
    shown = list(names)
    more = f" and {len(shown) - _MOST_NAMES:,} more" if len(shown) > _MOST_NAMES else ""
    return ", ".join(shown[:_MOST_NAMES]) + more


def if_values(names: Iterable[str]) -> str:
    """A clause about files without a header, for a message that names columns; "" if no name looks like a value."""
    if not any(_NUMBER.match(name) or sum(map(str.isdigit, name)) >= _DIGITS_OF_A_TIME for name in names):
        return ""
    return "; if these are values, the file has no header: write the names of its columns into its first line"


def _similar(column: str, known: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(column.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}? Its columns are" if close else "; its columns are"
