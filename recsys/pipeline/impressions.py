"""What the live service showed: impressions that clients reported as feedback events, joined with later events.

An impression says that a user saw an item. It is never a positive, see `recsys.data.event_kinds`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsys.data.feedback import FEEDBACK_DIR, started_before
from recsys.pipeline.past_lists import PastNight
from recsys.storage.filesystem import Storage

#: Kind of a feedback event that says that a user saw an item.
IMPRESSION = "impression"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResults:
    """What came of the impressions of one window; an item that a user saw several times counts once."""

    shown: int
    taken: int
    """Shown items that the user took afterwards, in the same window."""
    revenue: float


def live_results(storage: Storage, night: PastNight, prices: Mapping[str, float]) -> LiveResults:
    """Join the impressions in the window of a night with the events after them."""
    shown = pd.DataFrame(_impressions(storage, night), columns=["user_id", "item_id", "seen_at"])
    first = shown.groupby(["user_id", "item_id"], as_index=False)["seen_at"].min()
    events = night.events.to_pandas()
    taken = first.merge(events, on=["user_id", "item_id"])
    taken = taken[taken["timestamp"] >= taken["seen_at"]]
    paid = taken["item_id"].map(lambda item: prices.get(item, 0.0)).to_numpy(dtype=np.float64)
    return LiveResults(
        shown=len(first), taken=len(taken.drop_duplicates(["user_id", "item_id"])), revenue=float(paid.sum())
    )


def _impressions(storage: Storage, night: PastNight) -> Iterator[tuple[str, str, pd.Timestamp]]:
    """User, item and time of each impression in the window. A broken last line of a file is left out."""
    for name in storage.list(FEEDBACK_DIR, recursive=True):
        if not started_before(name, night.end):
            continue
        for line in storage.read_bytes(f"{FEEDBACK_DIR}/{name}").splitlines():
            if IMPRESSION.encode() not in line:
                continue
            try:
                row = json.loads(line)
                if row["event"] == IMPRESSION and row["item_id"]:
                    seen_at = pd.Timestamp(row["timestamp"])
                    if night.start <= seen_at < night.end:
                        yield row["user_id"], row["item_id"], seen_at
            except (ValueError, KeyError, TypeError):
                continue
