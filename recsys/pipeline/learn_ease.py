"""The linear stage: XᵀX summed over the shards, from each point of view; the model is in `recsys.signals.ease`."""

from collections.abc import Callable
from functools import partial
from typing import cast, get_args

import numpy as np
import numpy.typing as npt

from recsys.pipeline.cluster import for_each_part, peak_of
from recsys.pipeline.count_priors import newest_seen
from recsys.pipeline.records import LearnedEase
from recsys.pipeline.run import DataView, Record, Run
from recsys.pipeline.stages import INGEST_CATALOG, SHUFFLE_HISTORIES
from recsys.schema import TIME_SCALES, TRANSITIONS
from recsys.signals.ease import add_products, ease_weights, strongest_weights, user_rows
from recsys.signals.neighbours import Neighbours
from recsys.storage.tables import read_table, write_table


def learn_linear(run: Run) -> LearnedEase:
    """Learn the linear item model as it is seen from validation, from the gate and from the night."""
    records = for_each_part(get_args(DataView), partial(_learner, run), label="linear")
    return LearnedEase(
        rows=records[-1]["events"],
        users=records[-1]["users"],
        items=records[-1]["items"],
        pairs=records[-1]["pairs"],
        peak_memory_mb=peak_of(records),
    )


def load_linear(run: Run, view: DataView) -> Neighbours:
    """The sparse matrices of a finished `learn_linear`."""
    return Neighbours.from_table(read_table(run.storage, run.linear_path(view)), run.record(INGEST_CATALOG).items)


def _learner(run: Run) -> Callable[[str], Record]:
    item_ids = read_table(run.storage, run.catalog_path, ["item_id"])["item_id"].combine_chunks()
    shards = run.record(SHUFFLE_HISTORIES).shards
    config = run.config.linear

    def learn(part: str) -> Record:
        view = cast(DataView, part)
        chosen = _most_connected(run, view, config.items)
        place = np.full(len(item_ids) + 1, -1, dtype=np.int64)  # its last cell answers for items of no catalog
        place[chosen] = np.arange(len(chosen))
        products = [np.zeros((len(chosen), len(chosen)), dtype=np.float32) for _ in TIME_SCALES]
        num_users = num_events = 0
        for shard in shards:  # ids are hashed to shards, so that the first ones are a sample of the users
            if num_users >= config.users:
                break
            interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
            users, items, age = newest_seen(run, interactions, view, item_ids)
            rows = user_rows(users, place[items], age, len(chosen), config.half_life_days)
            for total, matrix in zip(products, rows, strict=True):
                add_products(total, matrix)
            num_users, num_events = num_users + rows[0].shape[0], num_events + len(users)
        lasting, recent = (ease_weights(total, config.ridge) for total in products)
        table = strongest_weights(lasting, recent, chosen, config.neighbours)
        write_table(run.storage, run.linear_path(view), table, TRANSITIONS)
        return {"events": num_events, "users": num_users, "items": len(chosen), "pairs": len(table)}

    return learn


def _most_connected(run: Run, view: DataView, num: int) -> npt.NDArray[np.int64]:
    """Ascending catalog indices of the items with the most transitions, equals by index; at most `num`."""
    pairs = read_table(run.storage, run.transition_totals_path(view))["lasting_item"].to_numpy()
    order = np.argsort(-pairs, kind="stable")[:num]
    return np.sort(order[pairs[order] > 0])
