"""The titles of a few items, out of the catalog of a night."""

import pyarrow as pa
import pyarrow.compute as pc

from recsys.storage.runs import RunFolder
from recsys.storage.tables import iter_batches

#: Rows of the catalog in memory at a time: attributes can be long.
_BATCH_ROWS = 8192


def find_titles(run: RunFolder, item_ids: pa.Array | pa.ChunkedArray) -> dict[str, str]:
    """Title of each of these items; an item without one is left out.

    Raises:
        InputError: the catalog is missing or damaged.
    """
    titles: dict[str, str] = {}
    wanted = pc.unique(item_ids).cast(pa.string())
    for batch in iter_batches(run.storage, f"{run.dir}/catalog.parquet", _BATCH_ROWS, ["item_id", "attributes"]):
        rows = batch.filter(pc.is_in(batch["item_id"], value_set=wanted))
        for item_id, attributes in zip(rows["item_id"].to_pylist(), rows["attributes"].to_pylist(), strict=True):
            if title := dict(attributes).get("title"):
                titles[item_id] = title
    return titles
