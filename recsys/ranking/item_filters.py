"""Which items of a catalog may be recommended at all: a mask made once for a night; it knows no users and no files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.row_filter import row_filter
from recsys.errors import ConfigError, InputError

Bools = npt.NDArray[np.bool_]

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRules:
    """What the config's `rerank` section asks of an item, with the ids of its files."""

    block: Sequence[str] = ()
    """Ids that are never recommended."""
    allow: Sequence[str] | None = None
    """Nothing else is recommended; None: everything may be."""
    where: str | None = None
    """Filter over the items' attributes; None: all pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCounts:
    """Items by what took them out first: items = unavailable + blocked + not_allowed + not_where + recommendable."""

    items: int
    unavailable: int
    blocked: int
    not_allowed: int
    not_where: int
    recommendable: int
    unknown_block: int
    """Ids of the block list that the catalog does not know."""
    unknown_allow: int
    """Ids of the allow list that the catalog does not know."""

    def as_dict(self) -> dict[str, int]:
        """For a record of the run."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendable:
    """Which items of a catalog may be recommended."""

    mask: Bools
    """[I]."""
    counts: FilterCounts
    warnings: tuple[str, ...]


def read_id_lines(content: bytes, key: str) -> list[str]:
    """Item ids of a block or allow file: one a line, blanks around it cut, empty lines passed over, each id once.

    Args:
        content: The file's bytes, UTF-8.
        key: The config key that names the file, for errors.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: must be UTF-8 text with one item id a line; byte {error.start} is not") from error
    return list(dict.fromkeys(line.strip() for line in text.split("\n") if line.strip()))


def recommendable_items(catalog: pa.Table, rules: ItemRules) -> Recommendable:
    """Apply availability, the block list, the allow list and the attribute filter, in this order.

    Args:
        catalog: CATALOG of I items; `attributes` is read only where there is a filter.
        rules: What to ask of an item.

    Raises:
        ConfigError: the filter cannot be parsed, names an attribute that no item has, or the rules leave no item of
            those available.
    """
    item_ids = catalog["item_id"].combine_chunks()
    available = np.asarray(catalog["available"], dtype=bool)
    checks = {"unavailable": available}
    warnings: list[str] = []
    unknown = {"block": 0, "allow": 0}
    for name, ids in (("block", rules.block), ("allow", rules.allow)):
        listed = pa.array(list(dict.fromkeys(ids or ())), pa.string())
        among = np.asarray(pc.is_in(item_ids, value_set=listed), dtype=bool)
        strangers = listed.filter(pc.invert(pc.is_in(listed, value_set=item_ids)))
        if len(strangers):
            unknown[name] = len(strangers)
            warnings.append(_stranger_warning(name, strangers, len(listed)))
        if name == "block":
            checks["blocked"] = ~among
        else:
            checks["not_allowed"] = among if ids is not None else np.ones(len(item_ids), dtype=bool)
    checks["not_where"] = _passes(catalog, rules.where)

    mask = np.ones(len(item_ids), dtype=bool)
    removed: dict[str, int] = {}
    for reason, passes in checks.items():
        removed[reason] = int((mask & ~passes).sum())
        mask &= passes
    if available.any() and not mask.any():
        raise ConfigError(_nothing_left(catalog, rules, int(available.sum()), removed))
    counts = FilterCounts(
        items=len(item_ids),
        recommendable=int(mask.sum()),
        unknown_block=unknown["block"],
        unknown_allow=unknown["allow"],
        **removed,
    )
    return Recommendable(mask=mask, counts=counts, warnings=tuple(warnings))


def _passes(catalog: pa.Table, where: str | None) -> Bools:
    """[I] which items the attribute filter lets through.

    Attributes are text. Beside a number they are compared as numbers, and text that is no number is null there. Two
    attributes are compared as text; `number(width) > number(height)` compares their numbers.
    """
    if where is None:
        return np.ones(len(catalog), dtype=bool)
    rule = row_filter(where, "rerank.where")
    known = attribute_names(catalog)
    lower = [name.lower() for name in known]
    for name in sorted(rule.columns):
        if name not in known and lower.count(name.lower()) != 1:
            raise ConfigError(
                f"rerank.where {where!r}: no item has an attribute {name!r}; {_known(known)}. "
                "inputs.items.attributes says which columns are kept"
            )
    names = rule.names_in(known, "the catalog").values()
    chunks = catalog["attributes"].chunks  # stay apart: an Arrow string array ends at 2 GB
    columns = {
        name: pa.chunked_array([pc.map_lookup(chunk, pa.scalar(name), "first") for chunk in chunks], pa.string())
        for name in sorted(names)
    }
    table = pa.table(columns) if columns else catalog.select(["item_id"])  # `true` reads no attribute
    try:
        return np.asarray(rule.mask(table, "the attributes"), dtype=bool)
    except InputError as error:
        raise ConfigError(str(error)) from error


def attribute_names(catalog: pa.Table) -> list[str]:
    """Names of the attributes that some item of a CATALOG has, sorted."""
    keys = [_keys_within(chunk) for chunk in catalog["attributes"].chunks]
    return sorted(pc.unique(pa.chunked_array(keys, pa.string())).to_pylist())


def _keys_within(maps: pa.MapArray) -> pa.Array:
    """Keys of the maps of a slice; `keys` alone gives those of the whole that it was cut from."""
    first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    return maps.keys.slice(first, last - first)


def _stranger_warning(name: str, strangers: pa.Array, num: int) -> str:
    shown = ", ".join(strangers.slice(0, _SHOWN).to_pylist()) + (" …" if len(strangers) > _SHOWN else "")
    return f"rerank: {len(strangers)} of the {num} ids to {name} are not in the catalog: {shown}"


def _nothing_left(catalog: pa.Table, rules: ItemRules, num_available: int, removed: dict[str, int]) -> str:
    """Names the culprits: each rule that took something, with its number."""
    rule_of = {
        "blocked": "the block list takes",
        "not_allowed": "the allow list does not name",
        "not_where": f"rerank.where {rules.where!r} is not true of",
    }
    culprits = [f"{words} {removed[reason]}" for reason, words in rule_of.items() if removed[reason]]
    hint = f"; {_known(attribute_names(catalog))}" if removed["not_where"] else ""
    return f"rerank: none of the {num_available} available items may be recommended: {', '.join(culprits)}{hint}"


def _known(names: Sequence[str]) -> str:
    return f"the attributes are {', '.join(names)}" if names else "the catalog has no attributes"
