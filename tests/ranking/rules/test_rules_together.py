"""What docs/business-rules.md promises holds under any combination of the rules.

Shapes: B users, C candidates, I items, K list length.
"""

import datetime as dt
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Floats, Ints
from recsys.ranking.rerank import Reranked, Reranker
from recsys.ranking.rules.exploration import num_places
from recsys.ranking.rules.rule import NightFacts
from recsys.schema import CATALOG

NUM_ITEMS = 30
NAMES = ("brand", "category")
IS_COLD = np.arange(NUM_ITEMS) % 3 == 2
RANDOM = np.random.default_rng(0)
KINDS = [
    {
        name: value
        for name, num in zip(NAMES, (5, 3), strict=True)
        if (value := "-abcde"[RANDOM.integers(0, num + 1)]) != "-"
    }
    for _ in range(NUM_ITEMS)
]
FACTS = NightFacts(
    popularity=np.where(IS_COLD, 0, np.arange(NUM_ITEMS)),
    is_cold=IS_COLD,
    recommendable=np.ones(NUM_ITEMS, dtype=bool),
    seed=0,
    date=dt.date(2026, 11, 22),
    vectors=RANDOM.normal(size=(5, 8))[RANDOM.integers(0, 5, NUM_ITEMS)] + 0.2 * RANDOM.normal(size=(NUM_ITEMS, 8)),
    catalog=pa.Table.from_pylist(
        [
            {"item_id": f"i{item:02}", "text": "", "available": True, "attributes": kind, "text_hash": ""}
            for item, kind in enumerate(KINDS)
        ],
        schema=CATALOG,
    ),
)


@st.composite
def rules(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """The length of the lists, and any settings of `rerank`."""
    top_k = draw(st.integers(1, 12))
    places = draw(st.lists(st.integers(1, top_k), max_size=4, unique=True))
    items = draw(st.permutations(range(NUM_ITEMS)))
    boosts = [{"where": "brand = 'a'", "factor": 5.0}, {"items": ["i05", "i11"], "factor": 0.2}]
    return top_k, {
        "long_tail_boost": draw(st.sampled_from([0.0, 1.0])),
        "boosts": draw(st.sampled_from([[], boosts])),
        "diversity": draw(st.sampled_from([0.0, 0.5])),
        "cold_item_slots": draw(st.sampled_from([0.0, 0.3])),
        "pins": [{"item": f"i{item:02}", "place": place} for item, place in zip(items, places, strict=False)],
        "caps": {name: draw(st.integers(1, 3)) for name in draw(st.lists(st.sampled_from(NAMES), unique=True))},
        "exploration": draw(st.sampled_from([0.0, 0.2, 0.5])),
    }


@st.composite
def candidates(draw: st.DrawFn) -> tuple[Ints, Floats]:
    """Candidates of three users, with ties; some users have fewer than others."""
    random = np.random.default_rng(draw(st.integers(0, 99_999)))
    items = random.permuted(np.tile(np.arange(NUM_ITEMS), (3, 1)), axis=1)[:, : draw(st.integers(1, NUM_ITEMS))]
    scores = random.normal(scale=2, size=items.shape).round(draw(st.sampled_from([0, 6]))).astype(np.float32)
    scores[random.random(items.shape) < draw(st.sampled_from([0.0, 0.3]))] = -np.inf
    return items, scores


@settings(max_examples=200)
@given(rules(), candidates())
def test_every_promise_holds_under_any_combination(
    chosen: tuple[int, dict[str, Any]], found: tuple[Ints, Floats]
) -> None:
    top_k, section = chosen
    made = Reranker.build(RerankConfig.model_validate(section), FACTS)
    got = made.rerank(pa.array(["u0", "u1", "u2"]), *found, top_k)
    places = {int(pin["item"][1:]): pin["place"] for pin in section["pins"]}
    for user, (items, scores) in enumerate(zip(*found, strict=True)):
        known = set(items[scores > -np.inf].tolist())
        listed = got.items[user][got.items[user] >= 0].tolist()
        wanted = {item: place for item, place in places.items() if item in known}
        assert len(set(listed)) == len(listed) == min(top_k, len(known)), "as long as it can be, and no item twice"
        assert set(listed) <= known
        check_scores(listed, got.scores[user, : len(listed)])
        check_pins(listed, got.pinned[user], wanted)
        check_exploration(listed, got.explored[user], wanted, num_places(section["exploration"], top_k), known, top_k)
        check_caps(listed, section["caps"], wanted, known)
        if section["cold_item_slots"] and not section["caps"]:
            check_cold_items(listed, got, user, known)


def check_scores(listed: list[int], scores: Floats) -> None:
    assert (scores[1:] <= scores[:-1]).all()
    assert np.lexsort((listed, -scores)).tolist() == list(range(len(listed))), "read back by score, it is the same list"


def check_pins(listed: list[int], pinned: np.ndarray, wanted: dict[int, int]) -> None:
    for item, place in wanted.items():
        assert item in listed, "a pinned item comes into the list of every user who may have it"
        assert listed.index(item) + 1 <= place
    for index in np.flatnonzero(pinned):
        assert wanted[listed[index]] == index + 1, "what moved up stands exactly at its place"


def check_exploration(
    listed: list[int], explored: np.ndarray, wanted: dict[int, int], num: int, known: set[int], top_k: int
) -> None:
    open_places = [index for index, item in enumerate(listed) if item not in wanted]
    num_head = max(0, top_k - len(wanted) - num)
    num_drawn = max(0, min(num, top_k - len(wanted), len(known) - len(wanted) - num_head))
    assert np.flatnonzero(explored).tolist() == open_places[len(open_places) - num_drawn :]


def check_caps(listed: list[int], caps: dict[str, int], wanted: dict[int, int], known: set[int]) -> None:
    def values(item: int) -> list[tuple[str, str]]:
        return [(name, value) for name, value in KINDS[item].items() if name in caps]

    kept = Counter(value for item in listed if item in wanted for value in values(item))
    beyond = []
    for item in (item for item in listed if item not in wanted):
        if any(kept[value] >= caps[value[0]] for value in values(item)):
            beyond.append(item)
        else:
            kept.update(values(item))
    for item in known - set(listed) if beyond else set():
        assert any(kept[value] >= caps[value[0]] for value in values(item)), f"{item} fits, and {beyond} are shown"


def check_cold_items(listed: list[int], got: Reranked, user: int, known: set[int]) -> None:
    """Down to the first drawn item; pins push what stands below them down."""
    num_cold = sum(bool(IS_COLD[item]) for item in known)
    explored = np.flatnonzero(got.explored[user])
    for num in range(1, 1 + (explored[0] if len(explored) else len(listed))):
        own = num - got.pinned[user, :num].sum()
        due = min(int(np.floor(own * 0.3 + 0.6 + 1e-9)), num_cold)
        assert sum(IS_COLD[listed[:num]]) >= due, f"of the first {num} places"
