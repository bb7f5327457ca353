"""Tables of a night of one file, beside its lists. They are published with the lists, by the same manifest."""

import pyarrow as pa

from recsys.storage.manifest import PublishedTable, TableFile, table_folder
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table

_FILE = "part-00000.parquet"


def write_night_table(run: RunFolder, name: str, table: pa.Table, schema: pa.Schema) -> PublishedTable:
    """Write a table of the run before its manifest, and return its entry for the manifest."""
    folder = table_folder(run, name)
    stats = write_table(run.storage, f"{folder}/{_FILE}", table, schema)
    return PublishedTable(
        path=folder, files=[TableFile(name=_FILE, rows=stats.rows, bytes=stats.bytes, sha256=stats.sha256)]
    )
