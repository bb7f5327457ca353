"""Attributes of a catalog's items. Shapes: I items."""

import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import ConfigError

#: The end of an error about an attribute: how it is kept.
WHERE_KEPT = "inputs.items.attributes says which columns are kept"


def attribute_names(catalog: pa.Table) -> list[str]:
    """Names of the attributes that some item of a CATALOG has, sorted."""
    keys = [_keys_within(chunk) for chunk in catalog["attributes"].chunks]
    return sorted(pc.unique(pa.chunked_array(keys, pa.string())).to_pylist())


def attribute_values(catalog: pa.Table, name: str) -> pa.ChunkedArray:
    """[I] texts of an attribute, null where an item does not have it."""
    chunks = catalog["attributes"].chunks  # they stay apart, since an Arrow string array ends at 2 GB
    return pa.chunked_array([pc.map_lookup(chunk, pa.scalar(name), "first") for chunk in chunks], pa.string())


def needed_attribute(catalog: pa.Table, name: str) -> pa.ChunkedArray:
    """[I] texts of an attribute that a signal or a rule reads, null where an item does not have it.

    Raises:
        ConfigError: no item has it, so that the signal or the rule would do nothing, without a word.
    """
    values = attribute_values(catalog, name)
    if values.null_count == len(values) > 0:
        raise ConfigError(
            f"a rule or a signal reads the attribute {name!r}, which no item has; "
            f"{known_attributes(attribute_names(catalog))}. "
            f"{WHERE_KEPT}"
        )
    return values


def known_attributes(names: list[str]) -> str:
    """The end of an error about an attribute: which ones there are."""
    return f"the attributes are {', '.join(names)}" if names else "the catalog has no attributes"


def _keys_within(maps: pa.MapArray) -> pa.Array:
    """Keys of the maps of a slice; the property `keys` would give those of the whole array."""
    first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    return maps.keys.slice(first, last - first)
