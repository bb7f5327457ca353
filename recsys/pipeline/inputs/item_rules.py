"""Which items a night may recommend, by the item rules in `recsys.ranking.rules`."""

import logging

import pyarrow as pa

from recsys.pipeline.inputs.input_list import ID_LISTS, id_list_path
from recsys.pipeline.run import Run
from recsys.ranking.experiment_config import rules_of_arms
from recsys.ranking.recommendable import Recommendable, recommendable_items
from recsys.storage.tables import read_table

logger = logging.getLogger(__name__)


def recommendable(run: Run, catalog: pa.Table) -> Recommendable:
    """What the item rules leave of the catalog.

    Raises:
        ConfigError: a rule's settings, also those of an arm, do not fit the catalog, or the rules leave nothing.
    """
    rules = run.config.rerank
    named = [key for key in ID_LISTS if getattr(rules, key) is not None]
    copies = {key: path for key in named if run.storage.exists(path := id_list_path(run.folder, key))}
    copied = rules.model_copy(update={key: run.storage.url(path) for key, path in copies.items()})
    return recommendable_items(catalog, copied, run.date, rules_of_arms(run.config.experiments, rules))


def count_filtered(run: Run) -> dict[str, int]:
    """What the rules removed from the catalog, for a record of the run; the log says it, too."""
    found = recommendable(run, read_table(run.storage, run.catalog_path, ["item_id", "available", "attributes"]))
    for warning in found.warnings:
        logger.warning("%s", warning)
    counts = found.counts
    removed = ", ".join(f"{name} {num:,}" for name, num in found.removed.items() if num)
    logger.log(
        logging.INFO if removed else logging.DEBUG,
        "recommend: %s of %s items may be recommended%s",
        *(f"{counts['recommendable']:,}", f"{counts['items']:,}", f" ({removed})" if removed else ""),
    )
    return counts
