"""JSON files: one object a line (JSON Lines), or an array of objects."""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from recsys.data.checks.quarantine import Reason, raw_rows
from recsys.data.files.content import text_content
from recsys.data.files.decoding import Readable
from recsys.data.formats.extended_json import plain_value
from recsys.data.formats.input_format import BLOCK_BYTES, Chunk, InputFormat, Source
from recsys.data.formats.json_text import JsonLines
from recsys.data.values.cells import as_text
from recsys.errors import InputError
from recsys.schema import QUARANTINE

_LONGEST_LINE_BLOCKS = 8
_MOST_COLUMNS = 10_000
#: Arrow's parser takes a line `null` for a row, and one at the beginning of a block ends the process.
_NULL_LINE = re.compile(rb"\s*null\b")


class JsonlFormat(InputFormat):
    """JSON Lines or JSON arrays, UTF-8."""

    name = "jsonl"
    endings = (".jsonl", ".ndjson", ".json")
    appendable = True
    closings = (b"}", b"]")

    def read(self, stream: IO[bytes], source: Source) -> Iterator[Chunk]:
        """Stream the rows, a block at a time."""
        for number, chunk in enumerate(read_jsonl(stream, source.path)):
            if number == 0 and len(chunk.table) == 1:
                _refuse_wrapped_rows(chunk.table, source)
            yield chunk


def _refuse_wrapped_rows(table: pa.Table, source: Source) -> None:
    """Refuse one object around all rows: `{"data": [{…}, {…}]}`."""
    if set(source.options.columns.model_dump(exclude_none=True).values()) & set(table.column_names):
        return
    values = {name: table[name][0].as_py() for name in table.column_names}
    lists = {name: value for name, value in values.items() if isinstance(value, str) and value.startswith("[{")}
    if lists:
        name = max(lists, key=lambda name: len(lists[name]))
        raise InputError(
            f"{source.path}: its rows are in the list {name!r} of one object; write the list alone (jq '.{name}')"
        )


def read_jsonl(stream: IO[bytes], path: str, *, block_bytes: int = BLOCK_BYTES) -> Iterator[Chunk]:
    """Stream the rows of a JSON Lines file, a block at a time; a key that was read once stays a column.

    The objects may also be in an array, or be written over several lines. The fields of a nested object are columns
    (`user.id`), and the object itself is none. Other nested values and values without a common type become text. Values
    of Extended JSON (`{"$date": …}`) are read as what they stand for. A line that is not a JSON object is malformed.

    Raises:
        InputError: the file is empty or no text, a line is too long, an array is cut off, or objects have very many
            fields.
    """
    known: dict[str, pa.DataType] = {}
    for block in _line_blocks(JsonLines(text_content(stream, path), path), path, block_bytes):
        table = _parsed_block(block)
        malformed = QUARANTINE.empty_table()
        if table is None:
            table, malformed = _parsed_lines(block, path)
        known |= dict(zip(table.column_names, table.schema.types, strict=True))
        for name in known.keys() - set(table.column_names):  # a key that no line of this block has is missing there
            table = table.append_column(name, pa.nulls(table.num_rows, known[name]))
        yield Chunk(table=table.select(list(known)) if known else table, malformed=malformed)


def _line_blocks(stream: Readable, path: str, block_bytes: int) -> Iterator[bytes]:
    """Whole lines, about `block_bytes` at a time."""
    data = stream.read(block_bytes)
    if not data:
        raise InputError(f"{path}: is empty; write at least one line, or remove the file")
    data = data.removeprefix(codecs.BOM_UTF8)
    while following := stream.read(block_bytes):
        lines, newline, rest = data.rpartition(b"\n")
        if newline:
            yield lines + newline
        elif len(rest) > _LONGEST_LINE_BLOCKS * block_bytes:
            raise InputError(
                f"{path}: a line is longer than {_LONGEST_LINE_BLOCKS * block_bytes >> 20} MB; is it JSON lines?"
            )
        data = rest + following
    yield data + b"\n"  # the last line may have no end


def _parsed_block(block: bytes) -> pa.Table | None:
    """The rows, or None if only reading line by line keeps every value as it was written."""
    if _NULL_LINE.match(block) or b"\nnull" in block:
        return None
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        block.decode()  # the parser would let broken text pass
        table = pyarrow.json.read_json(pa.BufferReader(block), options)
        dated = [field.with_type(pa.string()) if pa.types.is_temporal(field.type) else field for field in table.schema]
        if pa.schema(dated) != table.schema:  # the parser would rewrite texts that look like dates
            parsing = pyarrow.json.ParseOptions(explicit_schema=pa.schema(dated))
            table = pyarrow.json.read_json(pa.BufferReader(block), options, parsing)
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    for column in table.columns:
        if pa.types.is_nested(column.type):
            return None
        if pa.types.is_floating(column.type) and pc.any(pc.greater_equal(pc.abs(column), 2.0**53)).as_py():
            return None  # an integer too long for its type may have lost digits
    return table


def _parsed_lines(block: bytes, path: str) -> tuple[pa.Table, pa.Table]:
    """Rows and QUARANTINE, each line read by itself: slow."""
    rows: list[dict[str, Any]] = []
    bad: list[bytes] = []
    reasons: list[str] = []
    for line in block.split(b"\n"):
        if not line.strip():
            continue
        row = _json_object(line)
        if isinstance(row, Reason):
            bad.append(line)
            reasons.append(row)
        else:
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    if len(names) > _MOST_COLUMNS:
        raise InputError(
            f"{path}: its objects have over {_MOST_COLUMNS:,} fields, so the rows may be the values of one object; "
            f"write them alone, one a line (jq -c '.[]')"
        )
    values = {name: [row.get(name) for row in rows] for name in names}
    columns = {name: _common_column(cells) for name, cells in values.items() if not _are_objects(cells)}
    return pa.table(columns), raw_rows(path, bad, reasons)


def _json_object(line: bytes) -> dict[str, Any] | Reason:
    try:
        row = json.loads(line.decode(), object_hook=plain_value)
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair cannot be text
    except UnicodeError:
        return Reason.INVALID_ENCODING
    except (ValueError, RecursionError):
        return Reason.MALFORMED_ROW
    return _with_fields(row) if isinstance(row, dict) else Reason.MALFORMED_ROW


def _with_fields(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The row, with the fields of its objects as columns such as `user.id`."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        found[prefix + name] = value
        if isinstance(value, dict):
            found |= _with_fields(value, f"{prefix}{name}.")
    return found


def _are_objects(values: list[Any]) -> bool:
    """Whether the values of a column are objects, whose fields are the columns; Extended JSON has no fields."""
    known = [value for value in values if value is not None]
    return any(known) and all(isinstance(value, dict) and not any(key[:1] == "$" for key in value) for value in known)


def _common_column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 and kinds <= {str, bool, float}:
        return pa.array(values)
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if kinds == {int, float} and all(abs(value) <= 2**53 for value in values if type(value) is int):
        return pa.array(values, pa.float64())
    return pa.array([_json_text(value) for value in values], pa.string())


def _json_text(value: Any) -> str | None:
    """The value as in a column of its own type, so that the other values of a block do not matter."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return str(as_text(pa.scalar(value)))
    return json.dumps(value, ensure_ascii=False)
