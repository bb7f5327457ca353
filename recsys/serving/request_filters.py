"""Which items of a catalog have an attribute, and which titles hold some words; made once a snapshot.

It knows a catalog's columns, neither requests nor lists. Shapes: I items.
"""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.ranking.rules.attributes import attribute_names

Bools = npt.NDArray[np.bool_]


class ItemFilters:
    """The attributes and titles of I items."""

    def __init__(self, catalog: pa.Table, titles: pa.Array):
        """Of a CATALOG with `attributes`, and the [I] titles of its items."""
        self._attributes = catalog["attributes"]
        self._names = attribute_names(catalog)
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._lock = threading.Lock()
        self._titles = pc.utf8_lower(titles)
        self._lengths = np.asarray(pc.utf8_length(titles))

    def fault(self, filters: Mapping[str, str | Sequence[str]]) -> tuple[str, str] | None:
        """The field that is wrong, and why; None where all are attributes that some item has."""
        strange = next((name for name in filters if name not in self._names), None)
        if strange is None:
            return None
        known = f"the attributes are {', '.join(self._names)}" if self._names else "the catalog has no attributes"
        return f"filters.{strange}", f"no item has an attribute {strange!r}; {known}"

    def passing(self, filters: Mapping[str, str | Sequence[str]]) -> Bools:
        """[I] items that have one of the values in each of these attributes."""
        mask = np.ones(len(self._titles), dtype=bool)
        for name, values in filters.items():
            wanted = pa.array([values] if isinstance(values, str) else list(values), pa.string())
            mask &= np.asarray(pc.is_in(self._column(name), value_set=wanted), dtype=bool)
        return mask

    def titled(self, text: str, limit: int) -> npt.NDArray[np.int64]:
        """Up to `limit` items whose titles hold every word of the text, in any case, the shortest titles first."""
        mask = np.ones(len(self._titles), dtype=bool)
        for word in text.lower().split():
            mask &= np.asarray(pc.match_substring(self._titles, word), dtype=bool)
        found = np.flatnonzero(mask)
        return found[np.argsort(self._lengths[found], kind="stable")][:limit]

    def _column(self, name: str) -> pa.ChunkedArray:
        """[I] values of an attribute, null where an item has none."""
        with self._lock:
            if name not in self._columns:
                chunks = [pc.map_lookup(chunk, pa.scalar(name), "first") for chunk in self._attributes.chunks]
                self._columns[name] = pa.chunked_array(chunks, pa.string())
            return self._columns[name]
