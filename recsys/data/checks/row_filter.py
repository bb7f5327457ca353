"""Row filters in SQL: the `where` of inputs and of `rerank`, evaluated by DuckDB over Arrow tables."""

import functools
import json
import os
import re
import threading
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.where_syntax import ColumnKind, Node, NotAllowedError, adapt_to_types, check_condition
from recsys.data.values.cells import as_text, is_number, is_text
from recsys.data.values.columns import require_columns
from recsys.errors import ConfigError, InputError

_MAX_CHARS = 10_000
#: Reserved words that a condition needs.
_WORDS_OF_CONDITIONS = frozenset(
    {
        *("and", "or", "not", "is", "in", "like", "ilike", "null", "true", "false"),
        *("case", "when", "then", "else", "end", "cast", "as"),
    }
)
_BEFORE = "SELECT ("
_HINT = (
    "it must be a SQL condition such as: Quantity > 0 and \"Unit Price\" is not null and Country in ('France', 'Spain')"
)
#: Nothing outside of the registered table can be reached, and no later statement can change that.
_LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "error_on_division_by_zero": "false",
    "ieee_floating_point_ops": "false",  # a division by zero gives null, not infinity
    "threads": "1",
    "memory_limit": "1GB",
}
_SETUP = (
    "SET TimeZone = 'UTC'",
    "CREATE MACRO number(x) AS CASE WHEN isfinite(TRY_CAST(x AS DOUBLE)) THEN TRY_CAST(x AS DOUBLE) END",
    "CREATE MACRO as_boolean(x) AS TRY_CAST(trim(x) AS BOOLEAN)",
    "CREATE MACRO as_text(x) AS CAST(x AS VARCHAR)",
    "SET lock_configuration = true",
)
_THREAD = threading.local()


@functools.lru_cache(maxsize=64)
def row_filter(text: str, key: str = "where") -> "RowFilter":
    """The filter of a condition; the same text and key give the same filter within a process.

    Args:
        text: A SQL condition over the columns of one row.
        key: The config key that holds it, for errors.

    Raises:
        ConfigError: the text is not such a condition; the message names the key, the text and the position.
    """
    return RowFilter(text, key)


class RowFilter:
    """One condition, parsed and checked. Threads may share it, and it is pickled as its text."""

    def __init__(self, text: str, key: str = "where") -> None:
        """See `row_filter`, which callers use."""
        self.text = text
        self.key = key
        if not text.strip():
            raise ConfigError(f"{self}: is empty; write null to use all rows")
        if len(text) > _MAX_CHARS:
            raise ConfigError(f"{key} {text[:40]!r}…: is longer than {_MAX_CHARS} characters")
        self._statements: dict[tuple[Any, ...], str] = {}
        self._tree = self._parsed()
        try:
            self.columns: Sequence[str] = check_condition(self._tree)
        except NotAllowedError as error:
            raise self._error_at(error.position, str(error)) from error

    def __str__(self) -> str:
        return f"{self.key} {self.text!r}".lstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        return row_filter, (self.text, self.key)

    def names_in(self, column_names: Sequence[str], path: str) -> dict[str, str]:
        """Name of each of the filter's columns in a table: the same spelling, else the only one in another case.

        Raises:
            InputError: the table of `path` lacks a column.
        """
        found = {}
        for column in self.columns:
            same = [name for name in column_names if name.lower() == column.lower()]
            found[column] = same[0] if len(same) == 1 and column not in column_names else column
        require_columns(column_names, found.values(), path, self.key)
        if len({name.lower() for name in found.values()}) < len(set(found.values())):
            raise InputError(f"{self}: {path} has columns that differ by case only: rename one of them")
        return found

    def mask(self, table: pa.Table, path: str = "the table") -> pa.ChunkedArray:
        """One boolean for each row, without nulls: a condition that is null is false, as in SQL.

        A text column beside a number is compared as a number; text that is not a number is null there, and so is NaN.

        Raises:
            InputError: the table of `path` lacks a column, or a type does not fit, such as a number beside `'big'`.
        """
        names = self.names_in(table.column_names, path)
        columns = {name: _plain(table[name]) for name in names.values()}
        kinds = {name: _kind(column.type) for name, column in columns.items()}
        rows = pa.table(columns or {"none": pa.nulls(table.num_rows)})
        try:
            passes = self._evaluated(rows, names, kinds)
        except duckdb.Error as error:
            problem = str(error).split("\n", maxsplit=1)[0].partition(": ")[2]
            types = ", ".join(f"{name} is {table[name].type}" for name in columns) or "it reads no column"
            raise InputError(
                f"{self}: does not fit {path}: {problem} ({types}). Compare numbers with numbers and text with text, "
                f"or convert a column: TRY_CAST(column AS VARCHAR), number(column)"
            ) from error
        if not pa.types.is_boolean(passes.type):
            raise ConfigError(f"{self}: is a value, not a condition; compare it with something")
        return pc.fill_null(passes, False)

    def _evaluated(self, rows: pa.Table, names: dict[str, str], kinds: dict[str, ColumnKind]) -> pa.ChunkedArray:
        connection = _connection()
        shape = tuple(kinds.items())
        if shape not in self._statements:
            tree = adapt_to_types(self._tree, names, kinds)
            self._statements[shape] = f"SELECT ({self._as_sql(tree)}) AS passes FROM rows"  # noqa: S608 - it was checked
        connection.register("rows", rows)
        try:
            return connection.sql(self._statements[shape]).to_arrow_table()["passes"]
        finally:
            connection.unregister("rows")

    def _parsed(self) -> Node:
        """The syntax tree of the text, which must be one expression and nothing else of a SELECT."""
        try:
            answer, plain = _serialized(self.text), _serialized("true")
        except (duckdb.Error, RecursionError, UnicodeError) as error:
            raise ConfigError(f"{self}: cannot be read as SQL: {error}; {_HINT}") from error
        if answer["error"]:
            problem = f"{answer['error_message']}; {_HINT}{_if_reserved(self.text)}"
            if "position" in answer:
                raise self._error_at(int(answer["position"]), problem)
            raise ConfigError(f"{self}: {problem}")
        trees: list[Node] = answer["statements"][0]["node"].pop("select_list", [])
        plain["statements"][0]["node"].pop("select_list")
        if answer != plain or len(trees) != 1:
            raise ConfigError(f"{self}: must be one condition and nothing else; {_HINT}")
        self._select = plain["statements"][0]
        return trees[0]

    def _as_sql(self, tree: Node) -> str:
        """The text of a tree, as DuckDB writes it."""
        select = self._select | {"node": self._select["node"] | {"select_list": [tree]}}
        statement = json.dumps({"error": False, "statements": [select]})
        call = _connection().sql("SELECT json_deserialize_sql($tree)", params={"tree": statement})
        return str(call.fetchall()[0][0]).removeprefix("SELECT ")

    def _error_at(self, position: int, problem: str) -> ConfigError:
        """An error at a byte of the whole statement, which users see as a character of their text."""
        before = self.text.encode(errors="replace")[: max(position - len(_BEFORE), 0)].decode(errors="ignore")
        return ConfigError(f"{self}, at character {min(len(before) + 1, len(self.text))}: {problem}")


def sql_name(column: str) -> str:
    """The column's name as a condition must write it.

    >>> sql_name("quantity"), sql_name("at"), sql_name("Customer ID")
    ('quantity', '"at"', '"Customer ID"')
    """
    is_plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column) and column.lower() not in _reserved_words()
    return column if is_plain else '"' + column.replace('"', '""') + '"'


def _if_reserved(text: str) -> str:
    """A clause about the words of a condition that cannot be names of columns without quotes."""
    words = re.findall(r"\w+", re.sub(r"'[^']*'|\"[^\"]*\"", "", text))
    names = [word for word in dict.fromkeys(words) if word.lower() in _reserved_words() - _WORDS_OF_CONDITIONS]
    return "".join(f'; write "{name}" in double quotes where it is a column' for name in names)


@functools.cache
def _reserved_words() -> frozenset[str]:
    """Words of SQL that are no names of columns without quotes."""
    query = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    return frozenset(word for (word,) in _connection().sql(query).fetchall())


def _serialized(text: str) -> Any:
    """A SELECT of the text as DuckDB parses it."""
    statement = f"{_BEFORE}{text}\n)"  # the bracket has its own line, since a comment may end the text
    call = _connection().sql("SELECT json_serialize_sql($sql)", params={"sql": statement})
    return json.loads(call.fetchall()[0][0])


def _connection() -> duckdb.DuckDBPyConnection:
    """The connection of this thread, which opens at its first use.

    A forked process opens its own. It keeps the one that it inherited, because closing that one could crash.
    """
    connections: dict[int, duckdb.DuckDBPyConnection] = _THREAD.__dict__.setdefault("connections", {})
    if os.getpid() not in connections:
        connection = duckdb.connect(":memory:", config=_LOCKED)  # type: ignore[arg-type]
        for statement in _SETUP:
            connection.execute(statement).fetchall()
        connections[os.getpid()] = connection
    return connections[os.getpid()]


def _kind(kind: pa.DataType) -> ColumnKind:
    if is_text(kind):
        return "text"
    if is_number(kind):
        return "number"
    return "boolean" if pa.types.is_boolean(kind) else "other"


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as SQL should see it: no dictionaries, bytes as text, and null for NaN, which pandas writes for it."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return as_text(column)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
    return column
