"""Checks on the column names of a file."""

import difflib
from collections.abc import Iterable, Sequence

from recsys.errors import InputError


def require_columns(table_columns: Sequence[str], wanted: Iterable[str], path: str, key: str) -> None:
    """Check that a file has the columns that the config key `key` names.

    Raises:
        InputError: one is missing; names the key, the column, the file, a similar name and the columns it has.
    """
    for column in wanted:
        if column not in table_columns:
            known = ", ".join(table_columns) or "none"
            raise InputError(f"{key}: column {column!r} is not in {path}{_similar(column, table_columns)} {known}")


def distinct_columns(names: Sequence[str], path: str) -> list[str]:
    """The names as they are, after a check that each of them is the name of one column only.

    Raises:
        InputError: two columns share a name.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: more than one column is called {', '.join(map(repr, twice))}; rename all but one")
    return list(names)


def _similar(column: str, known: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(column.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}? Its columns are" if close else "; its columns are"
