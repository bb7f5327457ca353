"""Add texts of users to a synthetic shop: attributes, searches and reviews.

A model can learn: the attributes of a user name the brand of most of their events, and a search names material and
kind of the item that is viewed next.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.synthetic.shop import Shop
from recsys.data.values.cells import one_chunk

_SEARCHED, _REVIEWED = 0.25, 0.3
_SECONDS_BEFORE = 10
_REVIEWS = ("just as I hoped", "arrived broken", "a fine {} for the price", "I would buy this {} again")


def with_texts(shop: Shop, seed: int) -> Shop:
    """The shop with `users` (user_id, age, likes) and texts of events; a few searches are empty and therefore bad."""
    random = np.random.default_rng(seed)
    events, items = shop.events, shop.items
    item = _index(events["item_id"], items["item_id"])
    time = pc.strptime(events["timestamp"], "%Y-%m-%dT%H:%M:%SZ", "s", error_is_null=True)
    sound = np.asarray(pc.is_valid(time)) & np.asarray(pc.is_valid(events["user_id"])) & (item >= 0)

    words = [title.split() for title in items["title"].to_pylist()]
    reviewed = sound & np.asarray(pc.equal(events["event"], "purchase")) & (random.random(len(item)) < _REVIEWED)
    kinds = random.integers(0, len(_REVIEWS), len(item))
    reviews = [
        _REVIEWS[kind].format(" ".join(words[row][1:]).lower()) if said else None
        for kind, row, said in zip(kinds, item, reviewed, strict=True)
    ]
    viewed = sound & np.asarray(pc.equal(events["event"], "view"))
    before = np.flatnonzero(viewed & (random.random(len(item)) < _SEARCHED))
    queries: list[str | None] = [" ".join(words[row][1:]).lower() for row in item[before]]
    empty = random.permutation(len(before))[: max(1, len(before) // 200)]
    for place in empty:
        queries[place] = (None, "", " \t")[place % 3]
    earlier: npt.NDArray[np.datetime64] = np.asarray(time.take(pa.array(before)), dtype="datetime64[s]")
    earlier = earlier - np.timedelta64(_SECONDS_BEFORE, "s")
    searches = pa.table(
        {
            "user_id": events["user_id"].take(pa.array(before)),
            "item_id": pa.nulls(len(before), pa.string()),
            "timestamp": pa.array(np.char.add(np.datetime_as_string(earlier, unit="s"), "Z")),
            "event": pa.repeat("search", len(before)),
            "text": pa.array(queries, pa.string()),
        }
    )
    rows = pa.concat_tables([events.append_column("text", pa.array(reviews, pa.string())), searches])
    days = np.concatenate([shop.days, shop.days[before]])
    order = pa.array(np.argsort(np.concatenate([np.arange(len(item)), before - 0.5]), kind="stable"))
    return replace(
        shop,
        events=rows.take(order),
        days=days[np.asarray(order)],
        faults=shop.faults | {"search without a word": len(empty)},
        users=_users(random, events.filter(pa.array(sound)), item[sound], items),
    )


def _users(random: np.random.Generator, events: pa.Table, item: npt.NDArray[Any], items: pa.Table) -> pa.Table:
    """Age, which is random, and the brand of most events of each user."""
    names, users = pc.unique(items["brand"]).sort(), pc.unique(events["user_id"]).sort()
    events_of = np.zeros((len(users), len(names)))
    np.add.at(events_of, (_index(events["user_id"], users), _index(items["brand"], names)[item]), 1)
    ages = pa.array(random.integers(18, 80, len(users)))
    return pa.table({"user_id": users, "age": ages, "likes": names.take(pa.array(events_of.argmax(axis=1)))})


def _index(values: Any, among: Any) -> npt.NDArray[np.int64]:
    known = one_chunk(among)
    return np.asarray(pc.fill_null(pc.index_in(values, value_set=known), -1)).astype(np.int64)
