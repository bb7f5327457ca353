"""Similar items: of every item, only what relates items counts, and the reasons name the item."""

import dataclasses

import numpy as np
import pyarrow.compute as pc

from recsys.ranking.fusion import UNTRAINED_WEIGHTS, Fusion
from recsys.ranking.similar_items import of_related_items, similar_items
from recsys.schema import SIMILAR_ITEMS
from recsys.signals.registry import SIGNALS
from tests.ranking.test_lists import COLUMNS, IDS, SNAPSHOT, TITLES, UNAVAILABLE, config, make_snapshot

NIGHT = of_related_items(SNAPSHOT)
EVERY = np.arange(len(IDS))


def test_every_item_has_similar_items_in_order() -> None:
    table = similar_items(NIGHT, EVERY, config(), 4)
    assert table.schema == SIMILAR_ITEMS
    rows = table.to_pylist()
    assert [row["item_id"] for row in rows] == [item for item in IDS for _ in range(4)]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4] * len(IDS)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        assert row["similar_item_id"] not in {row["item_id"], *UNAVAILABLE}
        if following is not None and following["rank"] > 1:
            assert following["score"] <= row["score"]


def test_reasons_name_the_item_and_come_from_signals_that_relate_items() -> None:
    for row in similar_items(NIGHT, EVERY, config(), 6).to_pylist():
        assert SIGNALS[row["source"]].relates_items
        assert row["reason"].endswith(f" {TITLES[IDS.index(row['item_id'])]}")


def test_neither_popularity_nor_rules_nor_other_items_change_them() -> None:
    expected = similar_items(NIGHT, EVERY, config(), 4)
    loud = dataclasses.replace(
        SNAPSHOT.fusion, weights=SNAPSHOT.fusion.weights | {"popularity": 50.0, "popularity_ever": -9.0, "returns": 7.0}
    )
    ruled = make_snapshot(fusion=loud, long_tail_boost=3.0, exploration=0.5, diversity=0.9)
    assert similar_items(of_related_items(ruled), EVERY, config(), 4).equals(expected)
    alone = [similar_items(NIGHT, EVERY[[item]], config(), 4) for item in EVERY]
    assert [table["similar_item_id"].to_pylist() for table in alone] == [
        expected.filter(pc.equal(expected["item_id"], item))["similar_item_id"].to_pylist() for item in IDS
    ]


def test_where_popularity_alone_has_a_weight_the_default_weights_relate_items() -> None:
    night = of_related_items(make_snapshot(fusion=Fusion(weights=dict.fromkeys(COLUMNS, 0.0) | {"popularity": 1.0})))
    assert any(night.fusion.weights.values())
    assert all(SIGNALS[row["source"]].relates_items for row in similar_items(night, EVERY, config(), 3).to_pylist())


def test_a_ranker_that_learned_nothing_relates_no_items() -> None:
    """Its weights are random. Where popularity alone makes the lists, no other number has a weight to start from."""
    night = of_related_items(make_snapshot(fusion=Fusion(weights={"popularity": 1.0}, trained=False)))
    assert not night.fusion.weights.keys() & SIGNALS["ranker"].columns.keys()
    assert night.fusion.weights["text"] == UNTRAINED_WEIGHTS["text"]
    sources = set(similar_items(night, EVERY, config(), 3)["source"].to_pylist())
    assert sources
    assert "ranker" not in sources
