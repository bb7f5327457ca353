"""The re-ranking rules, in the order in which they are applied; rules of plugins come after these.

The order of the list rules follows from what they do to a list. A later rule keeps the promise of each earlier one, or
takes from it only what is said here.

1. `long_tail_boost` and `boosts` change scores, and sort by them. So they come before all that chooses by scores.
2. `diversity` chooses the items and their order by these scores.
3. `cold_item_slots` moves new items up. It comes after the choice, which would drop them.
4. `pins` fix places: `RankedBatch.fixed`. Other items move down, also new ones.
5. `caps` move items behind all others: `RankedBatch.demote`. Fixed items stay, and count first. A new item beyond a cap
   loses its slot: more exposure for new items is worth less than what the shop says.
6. `exploration` fills the last places that are not fixed. It comes last, so that nothing pushes a drawn item out, and
   each item is as likely to be drawn as `exploration.draw` says. It takes what exceeds a cap only where nothing else is
   left: `RankedBatch.last_resort`. `diversity` leaves its places alone: `ListRule.num_reserved`.
"""

from typing import Any

from recsys.config.messages import validated
from recsys.config.section import Section
from recsys.ranking.config import RerankConfig
from recsys.ranking.rules.allow_list import AllowList
from recsys.ranking.rules.availability import Availability
from recsys.ranking.rules.block_list import BlockList
from recsys.ranking.rules.boosts import Boosts
from recsys.ranking.rules.caps import Caps
from recsys.ranking.rules.cold_item_slots import ColdItemSlots
from recsys.ranking.rules.diversity import Diversity
from recsys.ranking.rules.expiry import Expiry
from recsys.ranking.rules.exploration import Exploration
from recsys.ranking.rules.long_tail_boost import LongTailBoost
from recsys.ranking.rules.pins import Pins
from recsys.ranking.rules.quiet_period import Quiet
from recsys.ranking.rules.rule import ItemRule, ListRule, Rule
from recsys.ranking.rules.served import Served
from recsys.ranking.rules.user_rule import UserRule
from recsys.ranking.rules.where import Where
from recsys.registry import Registry

RULES: Registry[Rule[Any]] = Registry("rule")
RULES.register(Availability())
RULES.register(BlockList())
RULES.register(AllowList())
RULES.register(Where())
RULES.register(Expiry())
RULES.register(Quiet())
RULES.register(Served())
RULES.register(LongTailBoost())
RULES.register(Boosts())
RULES.register(Diversity())
RULES.register(ColdItemSlots())
RULES.register(Pins())
RULES.register(Caps())
RULES.register(Exploration())


def item_rules() -> list[ItemRule[Any]]:
    """The rules that remove items, in order."""
    return [rule for rule in RULES if isinstance(rule, ItemRule)]


def user_rules() -> list[UserRule[Any]]:
    """The rules that remove items for some users, in order."""
    return [rule for rule in RULES if isinstance(rule, UserRule)]


def list_rules() -> list[ListRule[Any]]:
    """The rules that reorder lists, in order."""
    return [rule for rule in RULES if isinstance(rule, ListRule)]


def settings_of(rule: Rule[Any], config: RerankConfig) -> Section:
    """The section that a rule reads: `rerank` itself, or `rerank.rules.<name>` with its defaults.

    Raises:
        ValueError: a key of the rule's own section is unknown, missing or out of range.
    """
    if rule.settings is RerankConfig:
        return config
    section: Section = validated(rule.settings, config.rules.get(rule.name, {}), f"rerank.rules.{rule.name}")
    return section


def check_rules(config: RerankConfig, top_k: int) -> None:
    """Check every rule's settings before a night starts.

    Raises:
        ValueError: `rerank.rules` names an unknown rule or one without a section of its own, a setting is wrong, or
            lists of `top_k` are too short for a rule.
    """
    own = [rule.name for rule in RULES if rule.settings is not RerankConfig]
    for name in config.rules:
        if name not in own:
            known = f"rules with such settings are {', '.join(own)}" if own else "no rule has such settings"
            raise ValueError(f"rerank.rules.{name}: unknown rule; {known}. Is its module in `plugins`?")
    for rule in RULES:
        settings = settings_of(rule, config)
        if isinstance(rule, ListRule):
            rule.check_list_length(settings, top_k)
