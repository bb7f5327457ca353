"""Which items of a catalog may be recommended: the item rules, applied once for a night. Shapes: I items."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recsys.errors import ConfigError
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools
from recsys.ranking.rules.availability import Availability
from recsys.ranking.rules.registry import item_rules, list_rules, settings_of, user_rules
from recsys.ranking.rules.rule import ItemCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendable:
    """Which items of a catalog may be recommended."""

    mask: Bools
    """[I]."""
    removed: dict[str, int]
    """Items by the first rule that removed them, in the order of the rules."""
    counts: dict[str, int]
    """For the run's record: `items` = the sum of `removed` + `recommendable`; also what the rules count beside."""
    warnings: tuple[str, ...]


def recommendable_items(
    catalog: pa.Table, config: RerankConfig, date: dt.date, arms: Mapping[str, RerankConfig] | None = None
) -> Recommendable:
    """Apply every item rule, in the order of the registry, and ask the other rules whether they fit the catalog.

    Args:
        catalog: CATALOG of I items with `item_id`, `available` and `attributes`.
        config: The rules' settings.
        date: The night's date.
        arms: The rules of the arms of experiments, see `rules_of_arms`; the item rules are the same for all users.

    Raises:
        ConfigError: a rule's settings do not fit the catalog, or the rules leave none of the available items.
    """
    mask = np.ones(len(catalog), dtype=bool)
    checks: dict[str, ItemCheck] = {}
    removed: dict[str, int] = {}
    for item_rule in item_rules():
        settings = settings_of(item_rule, config)
        check = checks[item_rule.name] = item_rule.check_on(settings, catalog, config.shown_on(date))
        removed[item_rule.name] = int((mask & ~check.passes).sum())
        mask &= check.passes
    num_available = int(np.asarray(catalog["available"], dtype=bool).sum())
    if num_available and not mask.any():
        raise ConfigError(_nothing_left(checks, removed, num_available))
    counts = {"items": len(catalog), **removed, "recommendable": int(mask.sum())}
    for check in checks.values():
        counts |= check.counts
    warnings = [warning for check in checks.values() for warning in check.warnings]
    warnings += _other_warnings(catalog, config)
    for path, rules in (arms or {}).items():
        try:
            warnings += _other_warnings(catalog, rules)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    return Recommendable(mask=mask, removed=removed, counts=counts, warnings=tuple(dict.fromkeys(warnings)))


def _other_warnings(catalog: pa.Table, config: RerankConfig) -> list[str]:
    """What the list rules and the user rules warn of."""
    rules = (*list_rules(), *user_rules())
    return [warning for rule in rules for warning in rule.warnings(settings_of(rule, config), catalog)]


def _nothing_left(checks: dict[str, ItemCheck], removed: dict[str, int], num_available: int) -> str:
    """The error that names each rule which removed available items, with its number."""
    guilty = {name: check for name, check in checks.items() if removed[name] and name != Availability.name}
    causes = ", ".join(f"{check.blame or f'the rule {name} removes'} {removed[name]}" for name, check in guilty.items())
    hints = "".join(f"; {check.hint}" for check in guilty.values() if check.hint)
    return f"rerank: none of the {num_available} available items may be recommended: {causes}{hints}"
