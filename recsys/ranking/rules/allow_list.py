"""The rule that removes all items but those of a list."""

import numpy as np
import pyarrow as pa

from recsys.ranking.config import RerankConfig
from recsys.ranking.rules.id_lists import find_ids, read_id_file
from recsys.ranking.rules.rule import ItemCheck, ItemRule


class AllowList(ItemRule[RerankConfig]):
    """Removes the items that `rerank.allow_file` does not name."""

    name = "not_allowed"
    summary = "Where there is an allow list, nothing but its items is recommended."
    settings = RerankConfig

    def check(self, settings: RerankConfig, catalog: pa.Table) -> ItemCheck:
        """See `ItemRule.check`."""
        if settings.allow_file is None:
            return ItemCheck(passes=np.ones(len(catalog), dtype=bool), counts={"unknown_allow": 0})
        found = find_ids(catalog, read_id_file(settings.allow_file, "rerank.allow_file"), "allow")
        return ItemCheck(
            passes=found.listed,
            blame="the allow list does not name",
            counts={"unknown_allow": found.num_unknown},
            warnings=found.warnings,
        )
