"""The rule that removes items by their ids."""

import pyarrow as pa

from recsys.ranking.config import RerankConfig
from recsys.ranking.rules.id_lists import find_ids, read_id_file
from recsys.ranking.rules.rule import ItemCheck, ItemRule


class BlockList(ItemRule[RerankConfig]):
    """Removes the items of `rerank.block` and `rerank.block_file`."""

    name = "blocked"
    summary = "Items of the block list are never recommended."
    settings = RerankConfig

    def check(self, settings: RerankConfig, catalog: pa.Table) -> ItemCheck:
        """See `ItemRule.check`."""
        ids = list(settings.block or [])
        if settings.block_file is not None:
            ids += read_id_file(settings.block_file, "rerank.block_file")
        found = find_ids(catalog, ids, "block")
        return ItemCheck(
            passes=~found.listed,
            blame="the block list removes",
            counts={"unknown_block": found.num_unknown},
            warnings=found.warnings,
        )
