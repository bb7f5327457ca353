"""Which items a night may recommend, by its config and its id files; the rules are in `recsys.ranking.item_filters`."""

import logging

import pyarrow as pa

from recsys.pipeline.run import Run
from recsys.ranking.item_filters import ItemRules, Recommendable, read_id_lines, recommendable_items
from recsys.storage.filesystem import open_input
from recsys.storage.tables import read_table

logger = logging.getLogger(__name__)


def recommendable(run: Run, catalog: pa.Table) -> Recommendable:
    """What the rules of the config leave of the catalog.

    Raises:
        ConfigError: a rule cannot be read, or they leave nothing.
    """
    rules = run.config.rerank
    blocked = list(rules.block or [])
    if rules.block_file is not None:
        blocked += _ids_in(rules.block_file, "rerank.block_file")
    allowed = None if rules.allow_file is None else _ids_in(rules.allow_file, "rerank.allow_file")
    return recommendable_items(catalog, ItemRules(block=blocked, allow=allowed, where=rules.where))


def count_filtered(run: Run) -> dict[str, int]:
    """What the rules took from the catalog, for a record of the run; the log says it too."""
    found = recommendable(run, read_table(run.storage, run.catalog_path, ["item_id", "available", "attributes"]))
    for warning in found.warnings:
        logger.warning("%s", warning)
    counts = found.counts.as_dict()
    taken = [
        f"{name} {counts[name]:,}" for name in ("unavailable", "blocked", "not_allowed", "not_where") if counts[name]
    ]
    logger.info(
        "recommend: %s of %s items may be recommended%s",
        *(f"{counts['recommendable']:,}", f"{counts['items']:,}", f" ({', '.join(taken)})" if taken else ""),
    )
    return counts


def _ids_in(path: str, key: str) -> list[str]:
    fs, location = open_input(path)
    return read_id_lines(fs.cat_file(location), key)
