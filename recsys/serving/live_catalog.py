"""The items of one snapshot: their ids and titles, and which of them pass the filters of a request.

Shapes: N ids, I items.
"""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.model.features import index_catalog
from recsys.ranking.rules.attributes import attribute_names, attribute_values

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class LiveCatalog:
    """Ids, titles and attributes of I items. Any number of threads may use it."""

    def __init__(self, item_ids: pa.Array, titles: pa.Array, catalog: pa.Table):
        """Prepare the look-ups.

        Args:
            item_ids: [I] ids, sorted.
            titles: [I] titles in the same order.
            catalog: CATALOG table in the same order, with the column `attributes`.
        """
        self.item_ids = item_ids
        self.titles = titles
        self._catalog = catalog.select(["attributes"])
        self._names = attribute_names(catalog)
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._lock = threading.Lock()
        self._lower_titles = pc.utf8_lower(titles)
        self._title_lengths = np.asarray(pc.utf8_length(titles))

    def __len__(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    def indices(self, ids: pa.Array | pa.ChunkedArray) -> Ints:
        """[N] position of each id in the catalog, −1 for an unknown id."""
        return index_catalog(ids, self.item_ids)

    def titles_of(self, ids: pa.Array | pa.ChunkedArray) -> list[str]:
        """[N] titles of known items."""
        return list(self.titles.take(pa.array(self.indices(ids))).to_pylist())

    def filter_error(self, filters: Mapping[str, str | Sequence[str]]) -> tuple[str, str] | None:
        """The wrong field and the reason. None where each filter names an attribute that some item has."""
        unknown = next((name for name in filters if name not in self._names), None)
        if unknown is None:
            return None
        known = f"the attributes are {', '.join(self._names)}" if self._names else "the catalog has no attributes"
        return f"filters.{unknown}", f"no item has an attribute {unknown!r}; {known}"

    def passing(self, filters: Mapping[str, str | Sequence[str]]) -> Bools:
        """[I] whether an item has, for each filtered attribute, one of the wanted values."""
        mask = np.ones(len(self), dtype=bool)
        for name, values in filters.items():
            wanted = pa.array([values] if isinstance(values, str) else list(values), pa.string())
            mask &= np.asarray(pc.is_in(self._column(name), value_set=wanted), dtype=bool)
        return mask

    def search_titles(self, text: str, limit: int) -> list[tuple[str, str]]:
        """(id, title) of up to `limit` items whose title contains every word of the text, shortest title first.

        Upper and lower case are equal. A word may match inside of a longer word.
        """
        mask = np.ones(len(self), dtype=bool)
        for word in text.lower().split():
            mask &= np.asarray(pc.match_substring(self._lower_titles, word), dtype=bool)
        found = np.flatnonzero(mask)
        found = pa.array(found[np.argsort(self._title_lengths[found], kind="stable")][:limit])
        return list(zip(self.item_ids.take(found).to_pylist(), self.titles.take(found).to_pylist(), strict=True))

    def _column(self, name: str) -> pa.ChunkedArray:
        """[I] values of one attribute, null where an item does not have the attribute."""
        with self._lock:
            if name not in self._columns:
                self._columns[name] = attribute_values(self._catalog, name)
            return self._columns[name]
