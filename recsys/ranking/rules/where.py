"""The rule that removes items by their attributes."""

import numpy as np
import pyarrow as pa

from recsys.data.row_filter import row_filter
from recsys.errors import ConfigError, InputError
from recsys.ranking.config import RerankConfig
from recsys.ranking.rules.attributes import WHERE_KEPT, attribute_names, attribute_values, known_attributes
from recsys.ranking.rules.rule import ItemCheck, ItemRule


class Where(ItemRule[RerankConfig]):
    """Removes the items whose attributes do not pass `rerank.where`.

    Attributes are text. Beside a number they are compared as numbers, and text that is no number is null there. Two
    attributes are compared as text; `number(width) > number(height)` compares their numbers.
    """

    name = "not_where"
    summary = "Only items whose attributes pass the filter `rerank.where` are recommended."
    settings = RerankConfig

    def check(self, settings: RerankConfig, catalog: pa.Table) -> ItemCheck:
        """See `ItemRule.check`."""
        where = settings.where
        if where is None:
            return ItemCheck(passes=np.ones(len(catalog), dtype=bool))
        condition = row_filter(where, "rerank.where")
        known = attribute_names(catalog)
        lower = [name.lower() for name in known]
        for name in sorted(condition.columns):
            if name not in known and lower.count(name.lower()) != 1:
                raise ConfigError(
                    f"rerank.where {where!r}: no item has an attribute {name!r}; {known_attributes(known)}. "
                    f"{WHERE_KEPT}"
                )
        names = sorted(condition.names_in(known, "the catalog").values())
        columns = {name: attribute_values(catalog, name) for name in names}
        table = pa.table(columns) if columns else catalog.select(["item_id"])  # `true` reads no attribute
        try:
            passes = np.asarray(condition.mask(table, "the attributes"), dtype=bool)
        except InputError as error:
            raise ConfigError(str(error)) from error
        return ItemCheck(passes=passes, blame=f"rerank.where {where!r} is not true of", hint=known_attributes(known))
