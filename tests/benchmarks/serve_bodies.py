"""Request bodies for the live service, like those of a shop's anonymous users. Each run has the same ones."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from serve_nights import Nights


def anonymous_histories(nights: Nights, number: int) -> list[dict[str, Any]]:
    """Bodies without a user id, each with the last 1 to 20 events of a user of the shop."""
    shop = nights.config.parent / "shop"
    columns = pa.csv.ConvertOptions(include_columns=["user_id", "item_id", "event"])
    days = [pa.csv.read_csv(path, convert_options=columns) for path in sorted((shop / "events").iterdir())]
    events = pa.concat_tables(days)
    known = pc.is_in(events["item_id"], pq.read_table(shop / "items.parquet")["item_id"])
    events = events.filter(pc.and_(known, pc.equal(events["event"], "view"))).to_pandas()
    histories = [items.tolist() for _, items in events.groupby("user_id")["item_id"]]
    random = np.random.default_rng(0)
    bodies = []
    for place in random.integers(0, len(histories), number):
        newest = histories[place][-int(random.integers(1, 21)) :]
        bodies.append({"history": [{"item_id": item_id} for item_id in newest]})
    return bodies


def candidate_sets(nights: Nights, number: int, size: int) -> list[dict[str, Any]]:
    """The same histories, each with `size` random items to rank."""
    ids = pq.read_table(nights.config.parent / "shop/items.parquet")["item_id"].to_pylist()
    random = np.random.default_rng(1)
    return [
        body | {"candidates": [ids[place] for place in random.choice(len(ids), size, replace=False)]}
        for body in anonymous_histories(nights, number)
    ]


def searches(nights: Nights, number: int) -> list[dict[str, Any]]:
    """Bodies with search texts made from titles. All differ, so that no vector is cached."""
    titles = pq.read_table(nights.config.parent / "shop/items.parquet")["title"].to_pylist()
    random = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < number:
        one, other = (titles[place].split() for place in random.integers(0, len(titles), 2))
        found[" ".join([*one[1:], "like", *other[:2]]).lower()] = None
    return [{"query": query} for query in found]
