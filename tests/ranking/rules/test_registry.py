"""Rules of plugins: where they stand, how their settings are checked, and that they reach the lists."""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.errors import ConfigError
from recsys.ranking.config import RerankConfig
from recsys.ranking.rerank import Reranker
from recsys.ranking.rules.registry import RULES, list_rules
from recsys.ranking.rules.rule import NightFacts
from recsys.schema import CATALOG
from recsys.settings import Config, decode_config

INPUTS: dict[str, Any] = {"events": {"path": "events"}, "items": {"path": "items.parquet", "text": "{title}"}}
BUILT_IN = ["long_tail_boost", "boosts", "diversity", "cold_item_slots", "pins", "caps", "exploration"]


def config(rules: dict[str, Any], plugins: list[str] | None = None) -> Config:
    return decode_config({"inputs": INPUTS, "plugins": plugins or [], "rerank": {"rules": rules}})


def test_built_in_rules_are_applied_in_this_order() -> None:
    assert [rule.name for rule in list_rules()] == BUILT_IN
    assert RULES.names[:7] == (
        *("unavailable", "blocked", "not_allowed", "not_where", "expired"),
        *("quiet", "served"),
    )


def test_a_rule_of_a_plugin_comes_last(plugin: str) -> None:
    assert [rule.name for rule in list_rules()] == [*BUILT_IN, "max_per_category"]


def test_settings_of_a_plugin_are_checked_with_the_config(plugin: str) -> None:
    assert config({"max_per_category": {"most": 2}}, [plugin]).rerank.rules == {"max_per_category": {"most": 2}}
    with pytest.raises(ConfigError, match=r"rerank\.rules\.max_per_category\.most: must be ≥ 1, got 0"):
        config({"max_per_category": {"most": 0}}, [plugin])
    with pytest.raises(ConfigError, match=r"rerank\.rules\.max_per_category\.mots: unknown key; did you mean most\?"):
        config({"max_per_category": {"mots": 2}}, [plugin])
    with pytest.raises(ConfigError, match=r"rerank\.rules\.max_price: unknown rule; .* are max_per_category\. Is its"):
        config({"max_price": {}}, [plugin])


def test_a_rule_without_a_section_of_its_own_is_named() -> None:
    with pytest.raises(ConfigError, match=r"rerank\.rules\.diversity: unknown rule; no rule has such settings"):
        config({"diversity": {"share": 0.5}})


def test_a_plugin_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ConfigError, match=r"plugins: my_shop\.rules cannot be imported"):
        config({}, ["my_shop.rules"])


@pytest.mark.parametrize(
    ("old", "new"), [("tail", "long_tail_boost"), ("new_items", "cold_item_slots"), ("pool", "diversity_pool")]
)
def test_an_old_name_is_refused_with_the_new_one(old: str, new: str) -> None:
    with pytest.raises(ConfigError, match=rf"rerank\.{old}: has a new name: write rerank\.{new}"):
        decode_config({"inputs": INPUTS, "rerank": {old: 1}})


def test_lists_follow_a_rule_of_a_plugin(plugin: str) -> None:
    categories = ["pen", "pen", "pen", "cup", None, None, "cup"]
    rows = [
        {"item_id": f"i{item}", "text": "", "available": True, "text_hash": ""}
        | {"attributes": {"category": category} if category else {"title": "x"}}
        for item, category in enumerate(categories)
    ]
    facts = NightFacts(
        popularity=np.ones(7, dtype=np.int64),
        is_cold=np.zeros(7, dtype=bool),
        recommendable=np.ones(7, dtype=bool),
        vectors=np.eye(7, dtype=np.float32),
        seed=0,
        date=dt.date(2026, 11, 22),
        catalog=pa.Table.from_pylist(rows, schema=CATALOG),
    )
    reranker = Reranker.build(RerankConfig(rules={"max_per_category": {"most": 1}}), facts)
    items, scores = np.arange(7)[None], -np.arange(7, dtype=np.float32)[None]
    got = reranker.rerank(pa.array(["u"]), items, scores, top_k=4)
    assert got.items.tolist() == [[0, 3, 4, 5]]
    assert got.scores.tolist() == [[0, -3, -4, -5]]
    assert got.counts.moved["max_per_category"] == 2
    longer = reranker.rerank(pa.array(["u"]), items, scores, top_k=7)
    assert longer.items.tolist() == [[0, 3, 4, 5, 1, 2, 6]], "the others follow where nothing else is left"
    assert longer.scores[0].tolist() == pytest.approx([0, -3, -4, -5, -5, -5, -6], abs=1e-5)
    assert (np.diff(longer.scores[0]) <= 0).all(), "a score never rises"
