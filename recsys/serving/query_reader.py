"""Reads searches for one snapshot: which items a search excludes, and what is left to search for.

Shapes: I items.
"""

import logging
import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.written_numbers import numbers_in
from recsys.ranking.rules.attributes import WHERE_KEPT, attribute_names, attribute_values, known_attributes
from recsys.serving.contracts import UnderstoodQuery
from recsys.serving.query_rules import Level, QueryRules, negated_phrases, read_query
from recsys.serving.word_index import WordIndex

logger = logging.getLogger(__name__)

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

#: "cheap" is the lower third of the prices of what is searched for, "expensive" the upper third.
_THIRD = 1 / 3
#: With fewer items that have all words of the search, the third is of the whole catalog.
_MIN_SIMILAR = 10


@dataclass(frozen=True, kw_only=True)
class ReadQuery:
    """A search in terms of one catalog."""

    text: str
    """What the model reads."""
    excluded: Bools
    """[I] items that the search excludes."""
    understood: UnderstoodQuery | None
    """For the reply; None where the search is only its text."""
    warnings: list[str] = field(default_factory=list)


class QueryReader:
    """Words and prices of I items. Any number of threads may use it."""

    def __init__(self, titles: pa.Array, catalog: pa.Table, price: str | None):
        """Read the items.

        Args:
            titles: [I].
            catalog: `text` and `attributes` of CATALOG, in the same order.
            price: Attribute with the price of an item; None: prices are not understood. Neither are they where no item
                has a number there, since a service without prices is better than none.
        """
        names = [name for name in attribute_names(catalog) if name != price]
        columns = [attribute_values(catalog, name) for name in names]
        self._words = WordIndex([catalog["text"], pa.chunked_array([titles]), *columns], len(titles))
        self._lower_titles = pc.utf8_lower(titles)
        self._prices = np.full(len(titles), np.nan) if price is None else _read_prices(catalog, price)
        self._has_prices = bool(np.isfinite(self._prices).any())

    def read(self, query: str) -> ReadQuery:
        """Take a search apart, and find what it excludes."""
        names = [phrase for phrase in negated_phrases(query) if self._is_name(phrase)]
        rules = read_query(query, names, prices=self._has_prices)
        excluded = np.zeros(len(self._prices), dtype=bool)
        for phrase in rules.unwanted:
            excluded |= self._words.having(phrase)
        lowest, highest = self._bounds(rules, excluded)
        with np.errstate(invalid="ignore"):
            if lowest is not None:
                excluded |= ~(self._prices >= lowest)  # also where no price is known
            if highest is not None:
                excluded |= ~(self._prices <= highest)
        if not (rules.unwanted or lowest is not None or highest is not None):
            return ReadQuery(text=query, excluded=excluded, understood=None)
        understood = UnderstoodQuery(text=rules.text, unwanted=list(rules.unwanted), lowest=lowest, highest=highest)
        warnings = ["query: no item is as the search wants it"] if excluded.all() else []
        return ReadQuery(text=rules.text or query, excluded=excluded, understood=understood, warnings=warnings)

    def _is_name(self, phrase: str) -> bool:
        """Whether a phrase of two words is a name and not a wish: most items with its second word have all of it."""
        whole = rf"(?:^|[^\pL\pN]){re.escape(phrase)}(?:$|[^\pL\pN])"
        having = int(self._words.having(phrase.rpartition(" ")[2]).sum())
        return 2 * (pc.sum(pc.match_substring_regex(self._lower_titles, whole)).as_py() or 0) > having

    def _bounds(self, rules: QueryRules, excluded: Bools) -> tuple[float | None, float | None]:
        """The least and the largest price."""
        lowest, highest = rules.lowest, rules.highest
        if rules.level is None:
            return lowest, highest
        bound = self._third(rules.text, rules.level, ~excluded)
        if rules.level == "low":
            return lowest, bound if highest is None else min(bound, highest)
        return bound if lowest is None else max(bound, lowest), highest

    def _third(self, text: str, level: Level, wanted: Bools) -> float:
        """The price below which the cheap items are, or above which the expensive ones."""
        known = np.isfinite(self._prices)
        similar = self._words.having(text) & wanted & known
        prices = self._prices[similar if similar.sum() >= _MIN_SIMILAR else known]
        return float(np.quantile(prices, _THIRD if level == "low" else 1 - _THIRD))


def _read_prices(catalog: pa.Table, price: str) -> Floats:
    """[I] the price of each item, NaN where it has none. What cannot be read is logged."""
    texts = attribute_values(catalog, price)
    prices = numbers_in(texts)
    num_read = int(np.isfinite(prices).sum())
    if not num_read:
        known = known_attributes(attribute_names(catalog))
        logger.warning(
            "serve.price: no item has a price in %r, so searches are read without; %s. %s", price, known, WHERE_KEPT
        )
    elif num_unread := len(texts) - texts.null_count - num_read:
        logger.warning(
            "serve.price: of %d items the price in %r is no number; no search finds them by price", num_unread, price
        )
    return prices
