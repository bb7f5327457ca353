"""Caps on several attributes: more than a cap is shown only where nothing else is left.

Shapes: A attributes, C candidates, I items.
"""

import datetime as dt
from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Ints
from recsys.ranking.rerank import Reranker
from recsys.ranking.rules.rule import NightFacts
from recsys.schema import CATALOG

Kinds = list[dict[str, str]]


def capped(kinds: Kinds, caps: dict[str, int], top_k: int) -> Ints:
    """[K] the list of a user whose candidates are all items, best first, where item i has the attributes kinds[i]."""
    catalog = pa.Table.from_pylist(
        [
            {"item_id": f"i{item:02}", "text": "", "available": True, "attributes": kind, "text_hash": ""}
            for item, kind in enumerate(kinds)
        ],
        schema=CATALOG,
    )
    facts = NightFacts(
        popularity=np.ones(len(kinds), dtype=np.int64),
        is_cold=np.zeros(len(kinds), dtype=bool),
        recommendable=np.ones(len(kinds), dtype=bool),
        seed=0,
        date=dt.date(2026, 11, 22),
        vectors=np.ones((len(kinds), 1), dtype=np.float32),
        catalog=catalog,
    )
    items = np.arange(len(kinds))[None]
    return (
        Reranker.build(RerankConfig(caps=caps), facts)
        .rerank(pa.array(["u"]), items, -items.astype(np.float32), top_k)
        .items[0]
    )


def exceeding(kinds: Kinds, caps: dict[str, int], items: list[int]) -> tuple[list[int], Counter[tuple[str, str]]]:
    """The items for which a cap has no room when they come, and how many of each value were kept."""
    kept: Counter[tuple[str, str]] = Counter()
    beyond = []
    for item in items:
        values = [(name, kinds[item][name]) for name in caps if name in kinds[item]]
        if any(kept[value] >= caps[value[0]] for value in values):
            beyond.append(item)
        else:
            kept.update(values)
    return beyond, kept


def test_an_item_that_one_cap_removes_takes_no_room_of_another() -> None:
    kinds = [{"brand": "a", "category": "x"}, {"brand": "b", "category": "x"}, {"brand": "b", "category": "y"}]
    assert capped(kinds, {"brand": 1, "category": 1}, top_k=2).tolist() == [0, 2]
    assert capped(kinds, {"category": 1, "brand": 1}, top_k=2).tolist() == [0, 2], "the order of the caps is no matter"


@st.composite
def shops(draw: st.DrawFn) -> Kinds:
    def kind() -> dict[str, str]:
        return {name: value for name in ("brand", "category") if (value := draw(st.sampled_from(["", "a", "b", "c"])))}

    ends = [{"brand": "z", "category": "z"}]  # some item has each attribute
    return [kind() for _ in range(draw(st.integers(1, 12)))] + ends


@given(shops(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 14))
def test_a_cap_is_exceeded_only_where_nothing_else_is_left(kinds: Kinds, brands: int, types: int, top_k: int) -> None:
    caps = {"brand": brands, "category": types}
    got = [item for item in capped(kinds, caps, top_k).tolist() if item >= 0]
    assert len(got) == min(top_k, len(kinds)), "a list is never shorter"
    beyond, kept = exceeding(kinds, caps, got)
    assert got[len(got) - len(beyond) :] == beyond, "what exceeds a cap comes last"
    by_score = exceeding(kinds, caps, list(range(len(kinds))))[0]
    assert [item for item in got if item not in beyond] == [i for i in range(len(kinds)) if i not in by_score][
        : len(got)
    ]
    for item in set(range(len(kinds))) - set(got):
        fits = all(kept[name, value] < caps[name] for name, value in kinds[item].items())
        assert not (beyond and fits), f"item {item} fits into what was kept of {got}"
