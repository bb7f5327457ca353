"""Columns that older files of an input may lack: they are null there, and the rows are counted."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from recsys.data.columns import require_columns
from recsys.data.config import EventsInput, ItemsInput, TableInput, UsersInput
from recsys.data.templates import template_columns

logger = logging.getLogger(__name__)


def optional_columns(source: TableInput) -> dict[str, str]:
    """Config key of each column of an input that not all of its files need to have."""
    keys: dict[str, list[str]] = {}
    needed: set[str | None] = set()
    if isinstance(source, EventsInput):
        named = source.columns
        keys = {f"inputs.events.columns.{part}": [getattr(named, part) or ""] for part in ("event", "weight", "text")}
        needed = {named.user_id, named.item_id, named.timestamp}
    elif isinstance(source, ItemsInput):
        keys = {
            "inputs.items.text": template_columns(source.text),
            "inputs.items.attributes": source.attributes or [],
            "inputs.items.columns.title": [source.columns.title or ""],
            "inputs.items.columns.available": [source.columns.available or ""],
        }
        needed = {source.columns.item_id, source.columns.timestamp}
    elif isinstance(source, UsersInput):
        keys = {"inputs.users.text": template_columns(source.text, "inputs.users.text")}
        needed = {source.columns.user_id, source.columns.timestamp}
    return {column: key for key, columns in keys.items() for column in columns if column and column not in needed}


class LackingColumns:
    """Fills the optional columns that the files of one part lack, and counts their rows."""

    def __init__(self, source: TableInput) -> None:
        self._optional = optional_columns(source)
        self._rows: Counter[str] = Counter()
        self._found: set[str] = set()
        self._examples: dict[str, tuple[str, list[str]]] = {}

    def fill(self, table: pa.Table, file: str) -> pa.Table:
        """The table with all optional columns."""
        names = table.column_names
        if not names:  # a block that holds only malformed lines has no columns
            return table
        for column in self._optional:
            if column in names:
                self._found.add(column)
            else:
                self._rows[column] += len(table)
                self._examples[column] = file, names
                table = table.append_column(column, pa.nulls(len(table), pa.string()))
        return table

    def close(self) -> dict[str, Any]:
        """For the record of the part: rows by lacking column, the columns that some file has, and examples."""
        return {"rows": dict(self._rows), "found": sorted(self._found), "examples": self._examples}


def merge_lacking(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The answers of `LackingColumns.close` for several files, in their order, as one."""
    rows: Counter[str] = Counter()
    found: set[str] = set()
    examples: dict[str, Any] = {}
    for record in records:
        rows.update(record["rows"])
        found.update(record["found"])
        examples |= record["examples"]
    return {"rows": dict(rows), "found": sorted(found), "examples": examples}


def check_lacking(records: Sequence[dict[str, Any]], source: TableInput) -> dict[str, int]:
    """Rows without each optional column, from what all parts of an input found; a warning names the columns.

    Raises:
        InputError: no file has the column; names the key, a file and its columns.
    """
    merged = merge_lacking(records)
    rows, examples = merged["rows"], merged["examples"]  # of the newest file, which has most columns
    for column, key in optional_columns(source).items():
        if column in examples and column not in merged["found"]:
            file, names = examples[column]
            require_columns(names, [column], file, key)
        if rows.get(column):
            logger.warning(
                "%s: column %r is missing in %s rows, as in %s; it counts as empty there",
                *(key, column, f"{rows[column]:,}", examples[column][0]),
            )
    return {column: count for column, count in sorted(rows.items()) if count}
