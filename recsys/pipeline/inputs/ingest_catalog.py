"""The stage `catalog`: from the items' input to CATALOG."""

import logging

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.catalog import build_catalog, item_version_spec
from recsys.data.config import ItemsInput
from recsys.errors import InputError
from recsys.pipeline.input_records import IngestedCatalog
from recsys.pipeline.inputs.described_input import read_described
from recsys.pipeline.inputs.item_rules import recommendable
from recsys.pipeline.run import Run
from recsys.schema import CATALOG
from recsys.storage.tables import write_table

logger = logging.getLogger(__name__)


def ingest_catalog(run: Run) -> IngestedCatalog:
    """Read every version of every item, keep the newest values, and write the catalog.

    The item rules of the config are tried here too, so that a rule which leaves no item stops the night early.

    Raises:
        InputError: no item can be used or none is available, or too many rows are bad.
        ConfigError: the item rules cannot be read, or they leave no item.
    """
    spec = run.config.inputs.items
    versions, counts = read_described(run, item_version_spec(spec), "items")
    catalog = build_catalog(versions, spec)
    available = pc.sum(catalog["available"]).as_py() or 0
    if not available:
        raise InputError(
            f"inputs.items: none of the {len(catalog):,} items of {spec.path} is available; "
            f"inputs.items.columns.available={spec.columns.available!r} must name a column that is true where an item "
            f"may be recommended"
        )
    write_table(run.storage, run.catalog_path, catalog, CATALOG)
    recommendable(run, catalog)
    return IngestedCatalog(
        **vars(counts),
        items=len(catalog),
        available=available,
        texts=_count_texts(catalog, spec),
        path=run.catalog_path,
    )


def _count_texts(catalog: pa.Table, spec: ItemsInput) -> int:
    """Distinct texts that are not empty; a warning says where texts tell little about the items."""
    found = catalog.filter(pc.not_equal(catalog["text"], ""))
    distinct: int = pc.count_distinct(found["text_hash"]).as_py()
    template = f"inputs.items.text={spec.text!r}"
    if not len(found):
        logger.warning(
            "catalog: the texts of all %s items are empty: lists are made by ids alone; name columns with words in %s",
            *(f"{len(catalog):,}", template),
        )
    elif len(found) < len(catalog):
        empty = f"{len(catalog) - len(found):,}"
        logger.warning("catalog: the texts of %s of %s items are empty (%s)", empty, f"{len(catalog):,}", template)
    elif distinct == 1 < len(catalog):
        logger.warning("catalog: all %s items have the same text (%s)", f"{len(catalog):,}", template)
    return distinct
