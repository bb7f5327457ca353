"""Reads the ids of the catalog."""

import pyarrow as pa

from recsys.pipeline.run import Run
from recsys.storage.tables import read_table


def read_item_ids(run: Run) -> pa.Array:
    """[I] sorted ids of the items of the catalog."""
    return read_table(run.storage, run.catalog_path, ["item_id"])["item_id"].combine_chunks()
