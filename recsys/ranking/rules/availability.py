"""The rule that removes items which are not available."""

import numpy as np
import pyarrow as pa

from recsys.ranking.config import RerankConfig
from recsys.ranking.rules.rule import ItemCheck, ItemRule


class Availability(ItemRule[RerankConfig]):
    """Removes the items whose `available` is false in the catalog."""

    name = "unavailable"
    summary = "Items that are not available are never recommended."
    settings = RerankConfig

    def check(self, settings: RerankConfig, catalog: pa.Table) -> ItemCheck:  # noqa: ARG002 - it has no settings
        """See `ItemRule.check`."""
        return ItemCheck(passes=np.asarray(catalog["available"], dtype=bool))
