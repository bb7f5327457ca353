"""The rule that removes items by their attributes."""

import numpy as np
import pyarrow as pa

from recsys.data.expressions import Filter
from recsys.errors import ConfigError
from recsys.ranking.config import RerankConfig
from recsys.ranking.rules.attributes import attribute_names, attribute_values, known_attributes
from recsys.ranking.rules.rule import ItemCheck, ItemRule


class Where(ItemRule[RerankConfig]):
    """Removes the items whose attributes do not pass `rerank.where`.

    Attributes are text. Compared with a number they are read as numbers, and a text that is no number passes nothing.
    Two attributes are compared as texts; `width + 0 > height + 0` compares their numbers.
    """

    name = "not_where"
    summary = "Only items whose attributes pass the filter `rerank.where` are recommended."
    settings = RerankConfig

    def check(self, settings: RerankConfig, catalog: pa.Table) -> ItemCheck:
        """See `ItemRule.check`."""
        where = settings.where
        if where is None:
            return ItemCheck(passes=np.ones(len(catalog), dtype=bool))
        rule = _parsed(where)
        known = attribute_names(catalog)
        for name in sorted(rule.columns):
            if name not in known:
                raise ConfigError(
                    f"rerank.where {where!r}: no item has an attribute {name!r}; {known_attributes(known)}. "
                    "inputs.items.attributes says which columns are kept"
                )
        columns = {name: attribute_values(catalog, name) for name in sorted(rule.columns)}
        table = pa.table(columns) if columns else catalog.select(["item_id"])  # `true` reads no attribute
        return ItemCheck(
            passes=np.asarray(rule.mask(table), dtype=bool),
            blame=f"rerank.where {where!r} is not true of",
            hint=known_attributes(known),
        )


def _parsed(where: str) -> Filter:
    try:
        return Filter.parse(where)
    except ConfigError as error:
        raise ConfigError(f"rerank.{error}") from error  # its text begins with `where`
