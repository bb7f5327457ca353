"""The rule that gives items a fixed place. Shapes: B users, C candidates, I items, P pinned items."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Ints
from recsys.ranking.rules.id_lists import find_ids
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder


class Pins(ListRule[RerankConfig]):
    """Moves pinned items up to their places. It counts those that were below them.

    Pinned items are candidates of every user, except where the user or the request excludes them. A moved item takes
    the score of the item above it.
    """

    name = "pins"
    summary = "Pinned items have a fixed place in every list."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> Reorder | None:
        """See `ListRule.prepare`."""
        places = pinned_places(settings, facts)
        return partial(_pin, places=places) if places else None

    def wanted_items(self, settings: RerankConfig, facts: NightFacts) -> Ints:
        """See `ListRule.wanted_items`."""
        return np.array(sorted(pinned_places(settings, facts)), dtype=np.int64)

    def warnings(self, settings: RerankConfig, catalog: pa.Table) -> Sequence[str]:
        """See `Rule.warnings`."""
        return find_ids(catalog, [pin.item for pin in settings.pins], "pin").warnings if settings.pins else ()

    def check_list_length(self, settings: RerankConfig, top_k: int) -> None:
        """See `ListRule.check_list_length`."""
        for number, pin in enumerate(settings.pins):
            if pin.place > top_k:
                raise ValueError(f"rerank.pins.{number}.place={pin.place} is below lists of recommend.top_k={top_k}")


def pinned_places(settings: RerankConfig, facts: NightFacts) -> dict[int, int]:
    """The place of each pinned item, from 1, by its catalog index; of two pins of an item the higher place counts."""
    pins = [pin for pin in settings.pins if pin.holds_on(settings.shown_on(facts.date))]
    if not pins:
        return {}
    assert facts.catalog is not None, "pins are prepared without a catalog"
    found = pc.index_in(pa.array([pin.item for pin in pins]), value_set=facts.catalog["item_id"].combine_chunks())
    places: dict[int, int] = {}
    for item, pin in zip(found.to_pylist(), pins, strict=True):
        if item is not None:
            places[item] = min(pin.place, places.get(item, pin.place))
    return places


def _pin(batch: RankedBatch, places: dict[int, int]) -> tuple[RankedBatch, int]:
    """Pinned items go to their places, highest first; where two have one place, the first of the catalog stands there.

    A pin at a later place does not move what stands above it, so every item gets exactly its place. Later rules leave
    pinned items where they are, also those that their scores brought higher.
    """
    changed = replace(batch, pinned=np.zeros(batch.items.shape, dtype=bool))
    taken: set[int] = set()
    for item, wanted in sorted(places.items(), key=lambda pair: (pair[1], pair[0])):
        place = next(free for free in range(wanted - 1, batch.items.shape[1] + len(places)) if free not in taken)
        taken.add(place)
        changed = _move_up(changed, item, place)
    assert changed.pinned is not None
    num_moved = int(changed.pinned[:, : batch.top_k].sum())
    return replace(changed, fixed=np.isin(changed.items, list(places))), num_moved


def _move_up(batch: RankedBatch, item: int, place: int) -> RankedBatch:
    """Bring an item to a place from 0, for the users who have it below."""
    columns = np.where(batch.items == item, np.arange(batch.items.shape[1]), -1).max(axis=1, initial=-1)
    users = np.flatnonzero(columns > place)
    if not len(users):
        return batch
    keys = np.tile(np.arange(batch.items.shape[1], dtype=np.float64), (len(batch.items), 1))
    keys[users, columns[users]] = place - 0.5
    moved = batch.reordered(np.argsort(keys, axis=1, kind="stable"))
    above = moved.scores[users, place - 1] if place else moved.scores[users, min(1, moved.scores.shape[1] - 1)]
    assert moved.pinned is not None
    scores, pinned = moved.scores.copy(), moved.pinned.copy()
    scores[users, place] = np.maximum(scores[users, place], above)
    pinned[users, place] = True
    return replace(moved, scores=scores, pinned=pinned)
