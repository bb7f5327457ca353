"""The re-ranking rules: what each of them does, and where its settings are."""

from markdown_table import cell, table

from recsys.ranking.config import RerankConfig
from recsys.ranking.rules.registry import RULES
from recsys.ranking.rules.rule import ItemRule
from recsys.ranking.rules.user_rule import UserRule

INTRO = """\
# Re-ranking rules

These rules apply in this order. *Item rules* remove items for all users. *User rules* remove items for some users,
before their candidates are chosen. After the candidates are scored, *list rules* reorder the list of each user. The
settings are keys of [`rerank`](config.md#rerank). `metrics.json` counts, under the name of the rule, what it removed
or moved. [Extending](../extending.md#a-re-ranking-rule) shows how to add a rule.

"""


def page() -> str:
    """Markdown: one table of all registered rules."""
    rows = [
        (
            f"`{rule.name}`",
            "items" if isinstance(rule, ItemRule) else "users" if isinstance(rule, UserRule) else "lists",
            cell(rule.summary),
            "`rerank`" if rule.settings is RerankConfig else f"`rerank.rules.{rule.name}`",
        )
        for rule in RULES
    ]
    return INTRO + table(("rule", "kind", "what it does", "settings"), rows)
