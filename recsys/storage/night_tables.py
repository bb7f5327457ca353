"""Further tables of a night, beside its lists. They are published with the lists, by the same manifest."""

import pyarrow as pa

from recsys.storage.manifest import TableFile
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table

#: Folder of all such tables, below the root of the storage.
TABLES_DIR = "tables"


def night_table_path(run: RunFolder, name: str) -> str:
    """Where a table of the run is written, relative to the storage root."""
    return f"{TABLES_DIR}/{name}/run_date={run.date.isoformat()}/run_id={run.run_id}/part-00000.parquet"


def write_night_table(run: RunFolder, name: str, table: pa.Table, schema: pa.Schema) -> TableFile:
    """Write a table of the run before its manifest, and return the entry for the manifest."""
    path = night_table_path(run, name)
    stats = write_table(run.storage, path, table, schema)
    return TableFile(name=name, path=path, rows=stats.rows, bytes=stats.bytes, sha256=stats.sha256)
