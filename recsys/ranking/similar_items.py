"""Items that go with an item: what a user who has just taken the item, and nothing else, takes next.

So the signals, their fitted weights and their sentences are those of the lists. Only signals that relate items count:
popularity says nothing about two items. What a list keeps places for, and what a shop decides, is left out.

Shapes: B items that are asked for, I items of the catalog, K length of their lists.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.model.features import index_catalog
from recsys.ranking.config import RecommendConfig
from recsys.ranking.fusion import default_fusion, untrained_fusion
from recsys.ranking.lists import recommend_batch
from recsys.ranking.snapshot import Snapshot
from recsys.schema import HISTORIES, SIMILAR_ITEMS, USUAL_EVENT
from recsys.signals.registry import SIGNALS, columns_of

#: Before the title of an item, where the source of a similar item has no sentence about items.
GOES_WITH = "goes with"

Ints = npt.NDArray[np.int64]


def of_related_items(snapshot: Snapshot) -> Snapshot:
    """The night as `similar_items` reads it: only signals that relate items have a weight, and no rule applies."""
    allowed = frozenset(columns_of(SIGNALS[name] for name in snapshot.signals if SIGNALS[name].relates_items))
    if not snapshot.fusion.trained:
        allowed -= SIGNALS["ranker"].columns.keys()  # they are random
    fusion = snapshot.fusion.only(allowed)
    if not any(snapshot.fusion.weights.get(name) for name in allowed):
        fusion = default_fusion(SIGNALS).only(allowed) if fusion.trained else untrained_fusion(SIGNALS, allowed)
    cheap = {name: loaded for name, loaded in snapshot.signals.items() if loaded.most_candidates is None}
    return replace(
        snapshot,
        signals=cheap,
        fusion=replace(fusion, trees=None, trained=snapshot.fusion.trained),
        reranker=snapshot.reranker.off(),
    )


def similar_items(night: Snapshot, items: Ints, config: RecommendConfig, top_k: int) -> pa.Table:
    """SIMILAR_ITEMS of B items, by item, then by rank; only items that may be recommended, and never the item itself.

    Args:
        night: The answer of `of_related_items`.
        items: [B] catalog indices.
        config: Candidates, threads, device.
        top_k: K.
    """
    settings = config.model_copy(
        update={
            "top_k": top_k,
            "candidates": max(config.candidates, top_k),
            "exclude_seen": True,
            "exclude_rejected": False,
        }
    )
    lists = recommend_batch(night, _takers_of(night, items), settings).lists
    columns = {"item_id": "user_id", "similar_item_id": "item_id"}
    table = pa.table([lists[columns.get(name, name)] for name in SIMILAR_ITEMS.names], schema=SIMILAR_ITEMS)
    places = SIMILAR_ITEMS.get_field_index("reason")
    return table.set_column(places, SIMILAR_ITEMS.field(places), _reasons(night, table))


def _reasons(night: Snapshot, table: pa.Table) -> pa.ChunkedArray:
    """The reasons, where those that name no item of the history name the item that was asked for."""
    nameless = [
        name
        for name in night.signals
        if SIGNALS[name].relates_items and not any("{}" in sentence for sentence in SIGNALS[name].sentences)
    ]
    titles = night.titles.take(pa.array(index_catalog(table["item_id"], night.item_ids)))
    sentences = pc.binary_join_element_wise(GOES_WITH, titles, " ")
    return pc.if_else(pc.is_in(table["source"], value_set=pa.array(nameless, pa.string())), sentences, table["reason"])


def _takers_of(night: Snapshot, items: Ints) -> pa.Table:
    """HISTORIES [B] of users who took one of the items at the time of the night, named by the item."""
    ids = night.item_ids.take(pa.array(items))
    bounds = pa.array(np.arange(len(ids) + 1), pa.int32())
    moments = pa.array(np.full(len(ids), int(night.now)), HISTORIES.field("timestamps").type.value_type)
    values = {
        "item_ids": ids,
        "timestamps": moments,
        "events": pa.repeat(USUAL_EVENT, len(ids)),
        "weights": pa.array(np.ones(len(ids), dtype=np.float32)),
        "seen_item_ids": ids,
    }
    lists = [pa.ListArray.from_arrays(bounds, values[name]) for name in HISTORIES.names[1:]]
    return pa.Table.from_arrays([ids, *lists], schema=HISTORIES)
