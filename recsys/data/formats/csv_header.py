"""Find the header of a CSV file: the column names, and whether its texts may be in quotes."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from recsys.data.config import Quoting
from recsys.data.files.decoding import Utf8Stream, show_unreadable
from recsys.data.values.columns import distinct_columns
from recsys.errors import InputError

_RECBOLE_TYPES = frozenset({"token", "token_seq", "float", "float_seq"})
_HEADER_BYTES = 1 << 20
_MOST_HEADER_LINES = 50
#: Excel writes the delimiter into a first line.
_EXCEL_DELIMITER = re.compile(r'^"?sep=(.)"?$', re.IGNORECASE)
_LONG_DELIMITER = "::"
_DELIMITERS = {";": "';'", "\t": r'"\t"', "|": "'|'", ",": "','"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first lines of a file say."""

    names: list[str]
    """Names of the columns, each different."""
    written: list[str]
    """The names as the file has them, with RecBole's types."""
    quoting: Quoting


def read_header(text: Utf8Stream, path: str, delimiter: str, quoting: Quoting | None) -> Header:
    """Read the header and leave the stream at the first row.

    Blank lines, comments (`# …`) and Excel's line `sep=;` may be before the header. The types of a RecBole header
    (`user_id:token`) are not part of the names; where `quoting` is None, such a file has no quotes. A column without a
    name is called `unnamed_3` by its place.

    Raises:
        InputError: there is no header, it is in another encoding or has another delimiter, or a name comes twice.
    """
    raw = text.read(_HEADER_BYTES)
    data = raw.decode(errors="ignore")  # its last character may be cut
    start = _skip_preamble(data, path, delimiter)
    names, length = _first_record(data[start:], path, delimiter, quoting)
    text.push_back(raw[len(data[: start + length].encode()) :])
    _check_encoding(names, path)
    _check_delimiter(names, path, delimiter)
    _check_title(names, path)
    names[0] = names[0].removeprefix("#")
    written = names
    types = [name.rpartition(":")[2] for name in names]
    if all(":" in name for name in names) and _RECBOLE_TYPES.issuperset(types):
        names = [name.rpartition(":")[0] for name in names]
        quoting = quoting or "none"
    quoting = quoting or "standard"
    names = _fit_empty_columns([name.strip() for name in names], data[start + length :], delimiter, quoting)
    written = [name.strip() for name in written] + [""] * (len(names) - len(written))
    named = [name or f"unnamed_{place}" for place, name in enumerate(names, 1)]
    return Header(names=distinct_columns(named, path), written=written[: len(names)], quoting=quoting)


def _skip_preamble(data: str, path: str, delimiter: str) -> int:
    """Where the header begins: after blank lines, comments and Excel's line."""
    comments: list[tuple[int, str]] = []
    start = 0
    for line in io.StringIO(data, newline="\n"):  # `str.splitlines` would also end lines at other signs
        told = _EXCEL_DELIMITER.match(line.strip(" \r\n"))
        if told is not None and told[1] != delimiter:
            raise InputError(f"{path}: its first line says {line.strip()!r}; set `delimiter: {_spelled(told[1])}`")
        if line.startswith("#"):
            comments.append((start, line))
        elif line.strip("\r\n") and told is None:
            # Some tools write a comment sign before the names: then the first line without one is a row.
            if comments and _is_header_of(comments[-1][1], line, delimiter):
                return comments[-1][0]
            return start
        start += len(line)
    return comments[-1][0] if comments and delimiter in comments[-1][1] else start


def _is_header_of(comment: str, row: str, delimiter: str) -> bool:
    names, cells = comment.removeprefix("#").split(delimiter), row.split(delimiter)
    return (
        len(names) == len(cells) > 1
        and not any(name.strip()[:1].isdigit() for name in names)
        and any(cell.strip(' "')[:1].isdigit() for cell in cells)
    )


def _first_record(data: str, path: str, delimiter: str, quoting: Quoting | None) -> tuple[list[str], int]:
    """The cells of the first record that is not blank, and the number of characters up to its end."""
    used: list[str] = []

    def spend() -> Iterator[str]:
        for line in io.StringIO(data, newline=""):
            used.append(line)
            yield line

    reader = csv.reader(
        spend(), delimiter=delimiter, quoting=csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL
    )
    try:
        names = next((record for record in reader if record), None)
    except csv.Error as error:
        raise InputError(f"{path}: its header cannot be read: {error}") from error
    if names is None:
        raise InputError(f"{path}: is empty, not even a header; write the column names, or remove the file")
    if len(used) > _MOST_HEADER_LINES:
        raise InputError(f"{path}: its header has a quote that never closes; correct the first line")
    return names, sum(map(len, used))


def _check_encoding(names: list[str], path: str) -> None:
    header = "".join(names)
    if "\0" in header:
        raise InputError(
            f"{path}: its header holds NUL bytes; if it is UTF-16, set `encoding: utf-16-le` or `utf-16-be`, "
            "else the file is damaged or no text"
        )
    if show_unreadable(header) != header:
        shown = ", ".join(repr(show_unreadable(name)) for name in names if show_unreadable(name) != name)
        raise InputError(
            f"{path}: its header is not in the file's `encoding`: {shown}; set `encoding` to that of the file, "
            "such as cp1252 (Excel), latin-1 or utf-16"
        )


def _check_delimiter(names: list[str], path: str, delimiter: str) -> None:
    if names[0].count(_LONG_DELIMITER) > 1:
        raise InputError(
            f"{path}: has {_LONG_DELIMITER!r} between its fields, as old files of MovieLens: {names[0][:80]!r}; a "
            f"`delimiter` is one character, so write the file with another one, and with the names of its columns in "
            f"the first line"
        )
    if len(names) > 1:
        return
    if names[0].lstrip()[:1] in ("{", "["):
        raise InputError(f"{path}: looks like JSON, not CSV: it begins with {names[0][:40]!r}; set `format: jsonl`")
    for other, spelled in _DELIMITERS.items():
        if other != delimiter and other in names[0]:
            raise InputError(
                f"{path}: its header has only one column with `delimiter: {_spelled(delimiter)}`: {names[0][:80]!r}; "
                f"set `delimiter: {spelled}`"
            )


def _check_title(names: list[str], path: str) -> None:
    """Refuse a title above the names, as people write it into spreadsheets: only the first cell is not empty."""
    title, *others = (name.strip() for name in names)
    if title and others and not any(others):
        raise InputError(
            f"{path}: its first line is not a header, since only the first column has a name: {title!r}; delete the "
            "lines above the names of the columns"
        )


def _spelled(delimiter: str) -> str:
    return _DELIMITERS.get(delimiter, repr(delimiter))


def _fit_empty_columns(names: list[str], rows: str, delimiter: str, quoting: Quoting) -> list[str]:
    """The names with as many empty ones at the end as the first row has cells: exports often have one too many."""
    try:
        cells, _ = _first_record(rows, "", delimiter, quoting)
    except InputError:
        return names  # no row, or none that can be read: the parser will say so
    if len(cells) > len(names) and not any(cells[len(names) :]):
        return names + [""] * (len(cells) - len(names))
    if len(cells) < len(names) and not any(names[len(cells) :]):
        return names[: len(cells)]
    return names
