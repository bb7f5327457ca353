"""Merge the rows of items or users, which are versions of them, to the latest non-empty value of each column."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import Reason
from recsys.data.checks.row_checks import RowFault, filtered, flags, quarantine_faults
from recsys.data.config import TableInput
from recsys.data.times.date_evidence import FIRST_READING, DateEvidence, DateReading
from recsys.data.times.timestamps import read_timestamps
from recsys.data.values.cells import as_boolean, as_text
from recsys.data.values.columns import require_columns, require_plain_columns
from recsys.data.values.ids import read_ids
from recsys.data.values.large_texts import chosen_rows
from recsys.data.values.missing_values import MISSING_VALUES, without_missing
from recsys.data.values.texts import LONGEST_TEXT, non_empty
from recsys.schema import QUARANTINE, TIMESTAMP


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSpec:
    """What is read from a table whose rows are versions of items or of users."""

    key: str
    """Config key of the input, such as `inputs.items`."""
    source: TableInput
    id_name: str
    """Our name of the id: `item_id` or `user_id`."""
    id_column: str
    """Column that holds the id."""
    missing: Reason
    """Reason for the quarantine of a row without an id."""
    timestamp: str | None
    """Column that says which version is the latest."""
    values: Mapping[str, Sequence[str]]
    """Columns whose values are kept, by the config key that names them."""
    boolean: str | None = None
    """The one of these columns that must hold booleans."""
    missing_values: Sequence[str] = MISSING_VALUES
    """Words that stand for a missing value."""
    reading: DateReading = FIRST_READING
    """How dates with two readings are read."""

    @property
    def columns(self) -> list[str]:
        """Columns whose values are kept, each once."""
        return list(dict.fromkeys(column for columns in self.values.values() for column in columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What became of each row of a table: num_read = versions + later + quarantined + num_filtered."""

    versions: pa.Table
    """Schema: `versions_schema`."""
    later: pa.Table
    """The same for the versions from after the night's date."""
    quarantined: pa.Table
    """QUARANTINE: one row for each bad row, with the first fault that was found."""
    num_read: int
    num_filtered: int
    """Rows that did not pass `where`."""
    dates: DateEvidence
    """What the rows that passed `where` prove about dates with two readings."""


def versions_schema(what: VersionSpec) -> pa.Schema:
    """Columns: the id, and for each kept column its `value:` (large_string) and the `order:` (int64) of that value.

    Each column has its own order, because the latest value of one column may be older than that of another. Therefore
    merged versions can be merged again.
    """
    fields = [pa.field(what.id_name, pa.string(), nullable=False)]
    for column in what.columns:
        fields += [pa.field(f"value:{column}", pa.large_string()), pa.field(f"order:{column}", pa.int64())]
    return pa.schema(fields)


def read_versions(
    table: pa.Table, source: str, what: VersionSpec, max_id_chars: int, order: int, end: dt.datetime | None = None
) -> Versions:
    """Filter, map and check the rows of one source table. Versions from `end` (aware) on are set apart.

    If `columns.timestamp` is null, row i of the table (before `where`) has the order `order` + i. Give later tables a
    higher `order`; then the result does not depend on how the rows are divided into tasks and chunks.

    Raises:
        InputError: a needed column is missing, or cannot hold ids or text.
        ConfigError: `where`, `timezone` or `timestamp_format` is wrong.
    """
    num_read, spec = table.num_rows, what.source
    _require(table, source, what)
    schema = versions_schema(what)
    if not num_read:
        nothing, aside = schema.empty_table(), QUARANTINE.empty_table()
        return Versions(
            versions=nothing, later=nothing, quarantined=aside, num_read=0, num_filtered=0, dates=DateEvidence()
        )
    table, orders = _passing_where(table, source, what, order)
    ids = read_ids(table, what.id_column, max_id_chars, what.missing_values)
    faults = [RowFault(what.missing, what.id_column, flags(pc.is_null(ids.values))), *ids.faults]
    dates = DateEvidence()
    if what.timestamp is not None:
        read_times = read_timestamps(table[what.timestamp], spec, what.reading)
        orders, dates = read_times.utc.cast(pa.int64()), read_times.evidence
        faults.append(RowFault(Reason.UNREADABLE_TIMESTAMP, what.timestamp, flags(pc.is_null(orders))))
    present = {column: without_missing(as_text(table[column]), what.missing_values) for column in what.columns}
    values = {column: non_empty(texts) for column, texts in present.items()}
    bad, aside = quarantine_faults(table, source, [*faults, *_faults_of_values(values, what)])
    waits = np.zeros(table.num_rows, dtype=bool)
    if what.timestamp is not None and end is not None:
        waits = flags(pc.greater_equal(orders, pa.scalar(end, TIMESTAMP).cast(pa.int64())))

    columns: list[Any] = [ids.values]
    for value in values.values():
        columns += [value, pc.if_else(pc.is_valid(value), orders, pa.scalar(None, pa.int64()))]
    rows = pa.table(columns, names=schema.names)  # bad rows may have no id, which the schema does not allow
    return Versions(
        versions=rows.filter(pa.array(~bad & ~waits)).cast(schema),
        later=rows.filter(pa.array(~bad & waits)).cast(schema),
        quarantined=aside,
        num_read=num_read,
        num_filtered=num_read - len(bad),
        dates=dates,
    )


def _passing_where(table: pa.Table, source: str, what: VersionSpec, order: int) -> tuple[pa.Table, pa.Array]:
    """The rows that pass `where`, and for each of them `order` + its place in the table."""
    position = "order"
    while position in table.column_names:
        position += "_"
    numbered = table.append_column(position, pa.array(np.arange(order, order + table.num_rows)))
    numbered = filtered(numbered, what.source.where, source, f"{what.key}.where")
    return numbered.drop_columns([position]), numbered[position].combine_chunks()


def _faults_of_values(values: Mapping[str, Any], what: VersionSpec) -> list[RowFault]:
    faults = []
    if what.boolean is not None:
        booleans = values[what.boolean]
        unreadable = pc.and_(pc.is_valid(booleans), pc.is_null(as_boolean(booleans)))
        faults.append(RowFault(Reason.UNREADABLE_AVAILABLE, what.boolean, flags(unreadable)))
    for column, value in values.items():
        too_long = pc.greater(pc.utf8_length(value), LONGEST_TEXT)
        faults.append(RowFault(Reason.TEXT_TOO_LONG, column, flags(too_long)))
    return faults


def merge_versions(versions: Sequence[pa.Table]) -> pa.Table:
    """One row for each id, sorted by id, with the non-empty value of the highest order in each column.

    If values have the same order, the greatest text wins. The order of rows and tables does not matter, and merged
    tables can be merged again.
    """
    table = pa.concat_tables(versions)
    id_name = table.column_names[0]
    ids = pc.unique(table[id_name]).sort()
    codes = np.asarray(pc.index_in(table[id_name], value_set=ids))
    columns = [ids]
    for name in table.column_names[1::2]:
        column = name.removeprefix("value:")
        last = _last_rows(codes, len(ids), table[name], table[f"order:{column}"])
        columns += [chosen_rows(table[name], last), table[f"order:{column}"].take(last)]
    return pa.table(columns, schema=table.schema)


def version_times(versions: pa.Table) -> pa.Table:
    """`id` and `time` of each row of versions, merged or not: the highest order of its values, null without a value."""
    times = pc.max_element_wise(*versions.columns[2::2])
    return pa.table({"id": versions[0], "time": times})


def holds_history(times: Sequence[pa.Table]) -> bool:
    """Whether some id has versions of different times, given `version_times`. A repeated row is no further version."""
    ends = pa.concat_tables(times).group_by("id").aggregate([("time", "min"), ("time", "max")])
    return bool(pc.any(pc.not_equal(ends["time_min"], ends["time_max"])).as_py())


def known_by(versions: pa.Table, later: pa.Table, *, has_history: bool) -> pa.Table:
    """The merged versions by which a night knows items or users.

    Args:
        versions: Merged, up to the night's date.
        later: Merged, from after it.
        has_history: Whether the input holds several versions of an item. Then an item that has none up to the night's
            date did not exist yet. Else the input was overwritten, and the item is known only as it is now.
    """
    if has_history:
        return versions
    new = pc.invert(pc.is_in(later[later.column_names[0]], value_set=versions[0].combine_chunks()))
    return merge_versions([versions, later.filter(new)])


def _require(table: pa.Table, source: str, what: VersionSpec) -> None:
    named = what.source.columns.model_dump(exclude_none=True)
    wanted = {f"{what.key}.columns.{part}": [name] for part, name in named.items()}
    if table.num_columns:  # a block that holds only malformed lines has no columns
        for key, columns in (wanted | dict(what.values)).items():
            require_columns(table.column_names, columns, source, key)
            require_plain_columns(table, columns, source, key)


def _last_rows(codes: npt.NDArray[Any], num_ids: int, values: Any, orders: Any) -> pa.Array:
    """Row [I] of the latest value of each id, null where it has no value."""
    distinct = pc.unique(values).drop_null().sort()
    ranks = np.asarray(pc.fill_null(pc.index_in(values, value_set=distinct, skip_nulls=True), 0))
    present = np.flatnonzero(flags(pc.is_valid(values)))
    keys = ranks[present], np.asarray(pc.fill_null(orders, 0))[present], codes[present]
    ordered = present[np.lexsort(keys)]
    rows = np.full(num_ids, -1, dtype=np.int64)
    rows[codes[ordered]] = ordered  # if an id has several rows, the last assignment stays
    return pa.array(rows, mask=rows < 0)
