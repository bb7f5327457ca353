"""What users did with the lists that they were given: past lists joined with later events.

Shapes: U users with a list, K length of the lists, R rows of lists, E events, S sources.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import rank_ids, user_runs
from recsys.evaluation.measure import measure

Floats = npt.NDArray[np.float64]

#: Standard errors of a 95 % interval.
_Z = 1.96
#: Metrics of users who did something in the window.
ACCURACY = ("hitrate@10", "ndcg@10")


@dataclass(frozen=True, kw_only=True)
class RealizedLists:
    """The lists of U users, and what came of them."""

    user_ids: pa.Array
    """[U]."""
    variants: pa.Array
    """[U]."""
    active: npt.NDArray[np.bool_]
    """[U] whether the user had an event in the window."""
    accuracy: Mapping[str, Floats]
    """[U] of each of `ACCURACY`; 0 for a user without events."""
    taken: Floats
    """[U] items of the list that the user took."""
    revenue: Floats
    """[U] prices of the events with these items; 0 without prices."""
    by_source: Mapping[str, tuple[int, int, float]]
    """Places shown to active users, places taken, and revenue, by source."""


def realized_lists(lists: pa.Table, events: pa.Table, prices: Mapping[str, float]) -> RealizedLists:
    """Join the lists of some users with the events that came after them.

    Args:
        lists: `user_id`, `item_id`, `source` and `variant` of RECOMMENDATIONS [R]; the rows of a user are together and
            by rank.
        events: `user_id` and `item_id` [E] of events in the window in which the lists were the newest ones.
        prices: Of items; an item without a price brings nothing.
    """
    users, offsets = user_runs(lists)
    items, item = rank_ids(pa.chunked_array([*lists["item_id"].chunks, *events["item_id"].chunks], pa.string()))
    listed, done = item[: len(lists)], item[len(lists) :]
    owner = np.repeat(np.arange(len(users)), np.diff(offsets))
    actor = np.asarray(pc.fill_null(pc.index_in(events["user_id"], value_set=users), -1)).astype(np.int64)
    done, actor = done[actor >= 0], actor[actor >= 0]
    pairs, times = np.unique(actor * len(items) + done, return_counts=True)
    wanted = np.bincount(pairs // max(len(items), 1), minlength=len(users))
    recommended = np.full((len(users), max(int(np.diff(offsets).max(initial=0)), 1)), -1)
    recommended[owner, np.arange(len(lists)) - offsets[owner]] = listed
    indptr = np.concatenate([[0], np.cumsum(wanted)])
    accuracy = measure(recommended, indptr, pairs % max(len(items), 1), ACCURACY)

    shown = owner * len(items) + listed
    found = np.searchsorted(pairs, shown)
    hit = np.zeros(len(lists), dtype=bool)
    hit[found < len(pairs)] = pairs[found[found < len(pairs)]] == shown[found < len(pairs)]
    price = np.array([prices.get(name, 0.0) for name in items.to_pylist()]) if prices else np.zeros(len(items))
    paid = np.zeros(len(lists))
    paid[hit] = times[found[hit]] * price[listed[hit]]
    first = pa.array(offsets[:-1])
    return RealizedLists(
        user_ids=users,
        variants=lists["variant"].take(first).combine_chunks(),
        active=wanted > 0,
        accuracy=accuracy,
        taken=np.bincount(owner, hit, len(users)).astype(np.float64),
        revenue=np.bincount(owner, paid, len(users)).astype(np.float64),
        by_source=_by_source(lists["source"], (wanted > 0)[owner], hit, paid),
    )


def _by_source(
    sources: pa.ChunkedArray, active: npt.NDArray[np.bool_], hit: npt.NDArray[np.bool_], paid: Floats
) -> dict[str, tuple[int, int, float]]:
    names, code = rank_ids(sources)
    counts = zip(
        names.to_pylist(),
        np.bincount(code, active, len(names)).astype(np.int64).tolist(),
        np.bincount(code, hit, len(names)).astype(np.int64).tolist(),
        np.bincount(code, paid, len(names)).tolist(),
        strict=True,
    )
    return {name: (shown, taken, money) for name, shown, taken, money in counts}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownItems:
    """What came of items that were shown; an item that a user saw several times counts once."""

    shown: int
    taken: int
    """Shown items that the user took afterwards."""
    revenue: float
    """Prices of the events with these items."""


def after_impressions(events: pa.Table, impressions: pa.Table, most: dt.timedelta) -> pa.Table:
    """The events of items that their users were shown before, and `shown_at`: when that was last.

    Args:
        events: `user_id`, `item_id` and `timestamp` of what users took.
        impressions: The same of what they were shown.
        most: From the impression to the event.
    """
    shown = impressions.append_column("shown_at", impressions["timestamp"]).sort_by("timestamp")
    theirs = events.filter(pc.is_in(events["user_id"], value_set=pc.unique(shown["user_id"]))).sort_by("timestamp")
    tolerance = -(most // dt.timedelta(microseconds=1))  # below 0: the impression comes first
    joined = theirs.join_asof(shown, on="timestamp", by=["user_id", "item_id"], tolerance=tolerance)
    return joined.filter(pc.is_valid(joined["shown_at"]))


def shown_items(impressions: pa.Table, followed: pa.Table, prices: Mapping[str, float]) -> ShownItems:
    """Count what was shown and taken.

    Args:
        impressions: `user_id` and `item_id`: who saw what.
        followed: The same of the events that came after these impressions, see `after_impressions`.
        prices: Of items; an item without a price brings nothing.
    """
    shown, taken = (len(table.group_by(["user_id", "item_id"]).aggregate([])) for table in (impressions, followed))
    return ShownItems(
        shown=shown, taken=taken, revenue=sum(prices.get(item, 0.0) for item in followed["item_id"].to_pylist())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over users with a 95 % interval, from sums that can be added over shards."""

    num: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Floats) -> "Mean":
        """Of values [N]."""
        return cls(num=len(values), total=float(values.sum()), squares=float((values**2).sum()))

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(num=self.num + other.num, total=self.total + other.total, squares=self.squares + other.squares)

    def interval(self) -> tuple[float, float | None, float | None]:
        """Mean, lower and upper bound, by the normal distribution; one value alone has no bounds. At least one value.

        >>> Mean.of(np.array([0.0, 1.0])).interval()
        (0.5, -0.48, 1.48)
        """
        mean = self.total / self.num
        if self.num == 1:
            return round(mean, 6), None, None
        variance = max(self.squares - self.num * mean**2, 0.0) / (self.num - 1)
        error = _Z * (variance / self.num) ** 0.5
        return round(mean, 6), round(mean - error, 6), round(mean + error, 6)

    def share_interval(self) -> tuple[float, float | None, float | None]:
        """The same of values that are 0 or 1, by Wilson (JASA 1927): within 0 and 1, and no point where all are equal.

        >>> Mean.of(np.zeros(48)).share_interval()
        (0.0, 0.0, 0.074103)
        """
        share = self.total / self.num
        if self.num == 1:
            return round(share, 6), None, None
        scale = 1 + _Z**2 / self.num
        middle = (share + _Z**2 / (2 * self.num)) / scale
        error = _Z * (share * (1 - share) / self.num + _Z**2 / (4 * self.num**2)) ** 0.5 / scale
        return round(share, 6), round(max(middle - error, 0.0), 6), round(min(middle + error, 1.0), 6)
