"""Columns that some files of an input may lack: they are null there, and the rows are counted.

Older files lack columns that came later. JSON has no key at all where a value is null, so that its files may lack every
column, ids too.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from recsys.data.checks.row_filter import row_filter
from recsys.data.config import EventsInput, ItemsInput, TableInput, UsersInput
from recsys.data.values.columns import require_columns
from recsys.data.values.templates import template_columns

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OptionalColumn:
    """A column of an input that not all of its files need to have."""

    key: str
    """Config key that names it."""
    in_any_case: bool = False
    """Whether a file may have it in upper or lower case: a filter finds it."""


def optional_columns(source: TableInput) -> dict[str, OptionalColumn]:
    """The optional columns of an input by their names."""
    if isinstance(source, EventsInput):
        name, needed = "events", source.columns.model_dump(include={"user_id", "item_id", "timestamp"})
        named = source.columns
        keys = {f"inputs.events.columns.{part}": [getattr(named, part) or ""] for part in ("event", "weight", "text")}
    elif isinstance(source, ItemsInput):
        name, needed = "items", source.columns.model_dump(include={"item_id", "timestamp"})
        keys = {
            "inputs.items.text": template_columns(source.text),
            "inputs.items.attributes": source.attributes or [],
            "inputs.items.columns.title": [source.columns.title or ""],
            "inputs.items.columns.available": [source.columns.available or ""],
        }
    elif isinstance(source, UsersInput):
        name, needed = "users", source.columns.model_dump(include={"user_id", "timestamp"})
        keys = {"inputs.users.text": template_columns(source.text, "inputs.users.text")}
    else:
        return {}
    ids = {column: OptionalColumn(f"inputs.{name}.columns.{part}") for part, column in needed.items() if column}
    others = {
        column: OptionalColumn(key)
        for key, columns in keys.items()
        for column in columns
        if column and column not in ids
    }
    if source.format != "jsonl":
        return others
    where = f"inputs.{name}.where"
    filtered_by = row_filter(source.where, where).columns if source.where is not None else ()
    return dict.fromkeys(filtered_by, OptionalColumn(where, in_any_case=True)) | ids | others


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
        in_any_case = {name.lower() for name in names}
        for column, optional in self._optional.items():
            if column in names or (optional.in_any_case and column.lower() in in_any_case):
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


def check_lacking(records: Sequence[dict[str, Any]], source: TableInput) -> None:
    """Warn of optional columns that some rows lack, by what all parts of an input found.

    Raises:
        InputError: no file has the column; names the key, a file and its columns.
    """
    merged = merge_lacking(records)
    rows, examples = merged["rows"], merged["examples"]  # of the newest file, which has most columns
    for column, optional in optional_columns(source).items():
        if column in examples and column not in merged["found"]:
            file, names = examples[column]
            require_columns(names, [column], file, optional.key)
        if rows.get(column):
            logger.warning(
                "%s: column %r is missing in %s rows, as in %s; it counts as empty there",
                *(optional.key, column, f"{rows[column]:,}", examples[column][0]),
            )
