"""The rule that gives items a fixed place. Shapes: B users, C candidates, I items, P pinned items."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.compiled import compiled
from recsys.data.values.ids import normal_id
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Floats, Ints
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
    named = pa.array([normal_id(pin.item) for pin in pins])
    found = pc.index_in(named, value_set=facts.catalog["item_id"].combine_chunks())
    places: dict[int, int] = {}
    for item, pin in zip(found.to_pylist(), pins, strict=True):
        if item is not None:
            places[item] = min(pin.place, places.get(item, pin.place))
    return places


def _pin(batch: RankedBatch, places: dict[int, int]) -> tuple[RankedBatch, int]:
    """Later rules leave pinned items where they are, also those that their scores brought higher."""
    pins = sorted(places, key=lambda item: (places[item], item))
    order, scores = np.empty_like(batch.items), np.empty_like(batch.scores)
    pinned = np.zeros(batch.items.shape, dtype=bool)
    wanted = np.array([places[item] - 1 for item in pins], dtype=np.int64)
    _place(batch.items, batch.scores, np.array(pins, dtype=np.int64), wanted, batch.top_k, order, scores, pinned)
    changed = batch.reordered(order, scores)
    fixed = np.isin(changed.items, pins)
    fixed[:, batch.top_k :] = False  # of more pins than places
    return replace(changed, pinned=pinned, fixed=fixed), int(pinned[:, : batch.top_k].sum())


@compiled
def _place(
    items: Ints, scores: Floats, pins: Ints, wanted: Ints, top_k: int, order: Ints, written: Floats, pinned: Bools
) -> None:
    """Merge two queues, all candidates and the pinned ones; a pinned one comes at its place, unless it came before.

    Args:
        items: [B, C] candidates, best first.
        scores: [B, C].
        pins: [P] pinned items by their places.
        wanted: [P] their places from 0. Items of one place follow each other. Where they would go beyond the end of a
            list of K, they begin higher, so that all of them are in it.
        top_k: K.
        order: [B, C] the column at which the candidate of each place stood before; a result, as are the others.
        written: [B, C] scores in the new order; an item that moved up has that of the item above it.
        pinned: [B, C] False; True where an item moved up.
    """
    num_users, width = items.shape
    columns, indices = np.empty(len(pins), dtype=np.int64), np.empty(len(pins), dtype=np.int64)
    for user in range(num_users):
        num = 0
        for pin in range(len(pins)):
            for column in range(width):
                if items[user, column] == pins[pin]:
                    columns[num], indices[num] = column, wanted[pin]
                    num += 1
        for pin in range(num):
            after = indices[pin - 1] + 1 if pin else 0
            indices[pin] = min(max(indices[pin], after), max(top_k - num, 0) + pin)
        taken = np.zeros(width, dtype=np.bool_)
        best = pin = 0
        for place in range(width):
            while taken[best]:
                best += 1
            while pin < num and taken[columns[pin]]:
                pin += 1
            column = columns[pin] if pin < num and indices[pin] == place else best
            pinned[user, place] = column != best
            score = scores[user, column]
            if column != best:
                score = written[user, place - 1] if place else scores[user, best]
            order[user, place], written[user, place] = column, score
            taken[column] = True
