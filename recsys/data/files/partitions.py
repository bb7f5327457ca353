"""Partition columns: folders such as `date=2026-10-14` give each of their files a column `date`, as in Hive."""

from collections.abc import Mapping
from urllib.parse import unquote

import pyarrow as pa

_MISSING = "__HIVE_DEFAULT_PARTITION__"


def partition_values(path: str) -> dict[str, str | None]:
    """Value of each partition column, from the folders of a path; names and values are URL-decoded.

    >>> partition_values("s3://shop/events/date=2026-10-14/country=C%C3%B4te/part-0.parquet")
    {'date': '2026-10-14', 'country': 'Côte'}
    """
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        name, sign, value = folder.partition("=")
        if name and sign:
            found[unquote(name)] = None if value == _MISSING else unquote(value)
    return found


def with_partitions(table: pa.Table, values: Mapping[str, str | None]) -> pa.Table:
    """The table with a text column for each partition column that the file itself does not have."""
    for name, value in values.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    return table
