"""Turns source rows into one catalog row an item: the latest non-empty value of each column.

It knows no files and no vectors.
"""

import hashlib
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.config import ItemsInput
from recsys.data.cells import as_text, as_truth
from recsys.data.columns import require_columns
from recsys.data.events import Fault, filtered, first_faults, flags, id_faults, read_ids
from recsys.data.quarantine import Reason
from recsys.data.timestamps import to_utc
from recsys.errors import ConfigError
from recsys.schema import CATALOG, QUARANTINE

_LONGEST_TEXT = 100_000
_BLANKS = r"[\s\p{Cc}\p{Z}]+"
_VISIBLE = r"[^\s\p{Cc}\p{Z}]"
_SLICE_ROWS = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemVersions:
    """What one source table says of its items: num_read = versions + quarantined + num_filtered."""

    versions: pa.Table
    """See `versions_schema`."""
    quarantined: pa.Table
    """QUARANTINE, one row for each bad row, with its first fault."""
    num_read: int
    num_filtered: int
    """Rows that `where` left out."""


def template_columns(text: str) -> list[str]:
    """Columns of a template such as `{title}. {category}`, in order, each once.

    Raises:
        ConfigError: a brace is open, a field is more than a plain name, or there is no field.
    """
    return list(dict.fromkeys(column for _, column in _template_parts(text) if column is not None))


def versions_schema(spec: ItemsInput) -> pa.Schema:
    """`item_id`, and for each column that the catalog needs its `value:` (string) and the `order:` (int64) of it.

    Every column keeps its own order, since the latest value of one may be older than that of another: that makes a
    merge of merges the merge of all.
    """
    fields = [pa.field("item_id", pa.string(), nullable=False)]
    for column in _needed_columns(spec):
        fields += [pa.field(f"value:{column}", pa.string()), pa.field(f"order:{column}", pa.int64())]
    return pa.schema(fields)


def read_versions(table: pa.Table, source: str, spec: ItemsInput, max_id_chars: int, order: int) -> ItemVersions:
    """Filter, map and check the item rows of one source table.

    Where `columns.timestamp` is null, row i of the table (before `where`) has the order key `order` + i: give later
    tables higher keys, and the result depends neither on tasks nor on chunks.

    Raises:
        InputError: a needed column is missing, or cannot hold ids or text.
        ConfigError: `where`, `text`, `timezone` or `timestamp_format` is wrong.
    """
    num_read = table.num_rows
    _require(table, source, spec)
    schema = versions_schema(spec)
    if not num_read:
        return ItemVersions(
            versions=schema.empty_table(), quarantined=QUARANTINE.empty_table(), num_read=0, num_filtered=0
        )
    position = "order"
    while position in table.column_names:
        position += "_"
    numbered = table.append_column(position, pa.array(np.arange(order, order + num_read)))
    numbered = filtered(numbered, spec.where, source, "inputs.items.where")
    table, orders = numbered.drop_columns([position]), numbered[position].combine_chunks()

    ids = read_ids(table, spec.columns.item_id)
    faults = [
        Fault(Reason.MISSING_ITEM, spec.columns.item_id, flags(pc.is_null(ids))),
        *id_faults(ids, spec.columns.item_id, max_id_chars),
    ]
    if spec.columns.timestamp is not None:
        orders = to_utc(table[spec.columns.timestamp], spec.timezone, spec.timestamp_format).cast(pa.int64())
        faults.append(Fault(Reason.UNREADABLE_TIMESTAMP, spec.columns.timestamp, flags(pc.is_null(orders))))
    values = {column: _non_empty(as_text(table[column])) for column in _needed_columns(spec)}
    if spec.columns.available is not None:
        available = values[spec.columns.available]
        unreadable = pc.and_(pc.is_valid(available), pc.is_null(as_truth(available)))
        faults.append(Fault(Reason.UNREADABLE_AVAILABLE, spec.columns.available, flags(unreadable)))
    faults += [
        Fault(Reason.TEXT_TOO_LONG, column, flags(pc.greater(pc.utf8_length(value), _LONGEST_TEXT)))
        for column, value in values.items()
    ]
    bad, aside = first_faults(table, source, faults, np.ones(table.num_rows, dtype=bool))

    columns: list[Any] = [ids]
    for value in values.values():
        columns += [value, pc.if_else(pc.is_valid(value), orders, pa.scalar(None, pa.int64()))]
    versions = pa.table(columns, names=schema.names).filter(pa.array(~bad)).cast(schema)
    return ItemVersions(versions=versions, quarantined=aside, num_read=num_read, num_filtered=num_read - len(bad))


def merge_versions(versions: Sequence[pa.Table]) -> pa.Table:
    """One row an item, sorted by id: of each column the non-empty value with the highest order.

    Of values with the same order the greatest text wins. The result depends on no order of rows or tables, and
    merged tables can be merged again.
    """
    table = pa.concat_tables(versions).combine_chunks()
    ids = pc.unique(table["item_id"]).sort()
    codes = np.asarray(pc.index_in(table["item_id"], value_set=ids))
    columns = [ids]
    for name in table.column_names[1::2]:
        column = name.removeprefix("value:")
        last = _last_rows(codes, len(ids), table[name], table[f"order:{column}"])
        columns += [table[name].take(last), table[f"order:{column}"].take(last)]
    return pa.table(columns, schema=table.schema)


def build_catalog(merged: pa.Table, spec: ItemsInput) -> pa.Table:
    """CATALOG of merged versions, sorted by item_id; an item with nothing to read has an empty text.

    Text is NFC, without control characters, with single blanks, and cut to `max_text_chars`. Attributes hold the
    non-empty values of `attributes` (else of the template), and under `title` the one that people are shown.
    """
    merged = merged.sort_by("item_id")
    starts = range(0, max(merged.num_rows, 1), _SLICE_ROWS)  # an Arrow string array ends at 2 GB
    return pa.concat_tables([_build_slice(merged.slice(start, _SLICE_ROWS), spec) for start in starts])


def _build_slice(merged: pa.Table, spec: ItemsInput) -> pa.Table:
    values = {column: clean_text(merged[f"value:{column}"]) for column in _needed_columns(spec)}
    texts = _texts(values, spec, merged.num_rows)
    available = pa.repeat(True, merged.num_rows)
    if spec.columns.available is not None:
        available = pc.fill_null(as_truth(values[spec.columns.available]), True)
    shown = {"title": values[_title_column(spec)]}
    shown |= {column: values[column] for column in _attribute_columns(spec) if column != "title"}
    return pa.table(
        [merged["item_id"], texts, available, _map_of(shown, merged.num_rows), _hashes(texts)], schema=CATALOG
    )


def clean_text(text: Any) -> Any:
    """Text as people read it: NFC, every run of blanks and control characters one blank, none at the ends."""
    spaced = pc.replace_substring_regex(pc.utf8_normalize(text, form="NFC"), pattern=_BLANKS, replacement=" ")
    return pc.utf8_trim_whitespace(spaced)


def _template_parts(text: str) -> list[tuple[str, str | None]]:
    """Literal texts of a template, each with the column that follows it."""
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"inputs.items.text {text!r}: {error}; write {{{{ and }}}} for braces") from error
    for _, column, form, conversion in parsed:
        if column is None:
            continue
        if not column or form or conversion or set(column) & set(".[]{}"):
            raise ConfigError(f"inputs.items.text {text!r}: {{{column}}} must be a plain column name, like {{title}}")
    if all(column is None for _, column, _, _ in parsed):
        raise ConfigError(f"inputs.items.text {text!r}: names no column; write one like {{title}}")
    return [(literal, column) for literal, column, _, _ in parsed]


def _title_column(spec: ItemsInput) -> str:
    return spec.columns.title or template_columns(spec.text)[0]


def _attribute_columns(spec: ItemsInput) -> list[str]:
    return template_columns(spec.text) if spec.attributes is None else spec.attributes


def _needed_columns(spec: ItemsInput) -> list[str]:
    """Columns whose values the catalog is made of, each once."""
    available = [spec.columns.available] if spec.columns.available is not None else []
    return list(
        dict.fromkeys([*template_columns(spec.text), _title_column(spec), *_attribute_columns(spec), *available])
    )


def _require(table: pa.Table, source: str, spec: ItemsInput) -> None:
    wanted = {
        f"inputs.items.columns.{part}": [name] for part, name in spec.columns.model_dump(exclude_none=True).items()
    }
    wanted |= {"inputs.items.text": template_columns(spec.text), "inputs.items.attributes": _attribute_columns(spec)}
    if table.num_columns:  # a block of nothing but malformed lines has no columns to look for
        for key, columns in wanted.items():
            require_columns(table.column_names, columns, source, key)


def _non_empty(text: Any) -> Any:
    """Null where there is nothing to see, so that a blank never hides an older value."""
    return pc.if_else(pc.match_substring_regex(text, pattern=_VISIBLE), text, pa.scalar(None, pa.string()))


def _last_rows(codes: npt.NDArray[Any], num_items: int, values: Any, orders: Any) -> pa.Array:
    """Row [I] of each item's winning value, null where it has none."""
    distinct = pc.unique(values).drop_null().sort()
    ranks = np.asarray(pc.fill_null(pc.index_in(values, value_set=distinct, skip_nulls=True), 0))
    present = np.flatnonzero(flags(pc.is_valid(values)))
    keys = ranks[present], np.asarray(pc.fill_null(orders, 0))[present], codes[present]
    ordered = present[np.lexsort(keys)]
    rows = np.full(num_items, -1, dtype=np.int64)
    rows[codes[ordered]] = ordered  # of several rows the last assignment stays
    return pa.array(rows, mask=rows < 0)


def _texts(values: dict[str, Any], spec: ItemsInput, num_items: int) -> Any:
    pieces: list[Any] = []
    anything: Any = pa.repeat(False, num_items)
    for literal, column in _template_parts(spec.text):
        pieces.append(literal)
        if column is not None:
            pieces.append(pc.fill_null(values[column], ""))
            anything = pc.or_(anything, pc.not_equal(pieces[-1], ""))
    filled = pc.binary_join_element_wise(
        *[pa.scalar(piece) if isinstance(piece, str) else piece for piece in pieces], ""
    )
    whole = clean_text(pc.if_else(anything, filled, ""))  # the template's own words alone say nothing of the item
    return pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(whole, 0, spec.max_text_chars))


def _map_of(columns: dict[str, Any], num_items: int) -> pa.Array:
    """map<string, string> [I] of the non-empty values."""
    present = np.stack([flags(pc.not_equal(values, "")) for values in columns.values()], axis=1)
    places = np.arange(num_items)[:, None] + num_items * np.arange(len(columns))[None, :]
    chosen = pa.array(places[present])
    everything = pa.concat_arrays([_flat(values) for values in columns.values()])
    keys = pa.array(list(columns)).take(pa.array(np.nonzero(present)[1]))
    offsets = np.concatenate([[0], present.sum(axis=1).cumsum()]).astype(np.int32)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, everything.take(chosen))


def _hashes(texts: Any) -> pa.Array:
    """Hex BLAKE2b of 128 bits [I]; each different text is hashed once."""
    encoded = _flat(texts).dictionary_encode()
    digests = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in encoded.dictionary.to_pylist()]
    return pa.array(digests, pa.string()).take(encoded.indices)


def _flat(values: Any) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
