"""The texts of items that the encoder reads: written ones where the stage `enrich` ran, else those of the catalog."""

import pyarrow as pa

from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENRICH_ITEMS
from recsys.storage.tables import read_table


def read_encoder_texts(run: Run) -> pa.Table:
    """`item_id`, `text` and `text_hash` of each item, in the order of the catalog."""
    path = run.item_texts_path if ENRICH_ITEMS.applies(run.config) else run.catalog_path
    return read_table(run.storage, path, ["item_id", "text", "text_hash"])
