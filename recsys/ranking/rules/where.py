"""The rule that removes items by their attributes."""

import numpy as np
import pyarrow as pa

from recsys.data.checks.row_filter import row_filter
from recsys.errors import ConfigError, InputError
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools
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
        return ItemCheck(
            passes=passing_items(where, "rerank.where", catalog),
            blame=f"rerank.where {where!r} is not true of",
            hint=known_attributes(attribute_names(catalog)),
        )


def passing_items(where: str, key: str, catalog: pa.Table) -> Bools:
    """[I] whether the attributes of each item pass a condition.

    Args:
        where: SQL condition.
        key: The config key that holds it, for errors.
        catalog: CATALOG of I items.

    Raises:
        ConfigError: the condition does not fit the catalog.
    """
    condition = row_filter(where, key)
    known = attribute_names(catalog)
    lower = [name.lower() for name in known]
    for name in sorted(condition.columns):
        if name not in known and lower.count(name.lower()) != 1:
            raise ConfigError(
                f"{key} {where!r}: no item has an attribute {name!r}; {known_attributes(known)}. {WHERE_KEPT}"
            )
    names = sorted(condition.names_in(known, "the catalog").values())
    columns = {name: attribute_values(catalog, name) for name in names}
    table = pa.table(columns) if columns else catalog.select(["item_id"])  # `true` reads no attribute
    try:
        return np.asarray(condition.mask(table, "the attributes"), dtype=bool)
    except InputError as error:
        raise ConfigError(str(error)) from error
