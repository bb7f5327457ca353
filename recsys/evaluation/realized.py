"""What users did with the lists that they were given: past lists joined with later events.

Shapes: U users with a list, K length of the lists, R rows of lists, E events, S sources.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import rank_ids, user_runs
from recsys.evaluation.measure import measure

Floats = npt.NDArray[np.float64]
#: A mean, its lower and its upper bound.
Interval = tuple[float, float | None, float | None]

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
    by_source: Mapping[str, "Places"]
    """The places of active users, by source."""


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
        by_source=_by_source(lists["source"], np.where(wanted[owner] > 0, owner, -1), hit, paid),
    )


def _by_source(
    sources: pa.ChunkedArray, viewer: npt.NDArray[np.int64], hit: npt.NDArray[np.bool_], paid: Floats
) -> dict[str, "Places"]:
    """Places [R] by source; who saw them [R], −1 if nobody, whether they were taken [R] and what was paid [R]."""
    names, code = rank_ids(sources)
    found = {}
    for number, name in enumerate(names.to_pylist()):
        own = (code == number) & (viewer >= 0)
        user = np.unique(viewer[own], return_inverse=True)[1]
        found[name] = Places.of(np.bincount(user), np.bincount(user, hit[own]), float(paid[own].sum()))
    return found


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


def shown_items(impressions: pa.Table, followed: pa.Table, prices: Mapping[str, float]) -> "Places":
    """What was shown and taken; an item that a user saw several times counts once.

    Args:
        impressions: `user_id` and `item_id`: who saw what.
        followed: The same of the events that came after these impressions, see `after_impressions`.
        prices: Of items; an item without a price brings nothing.
    """
    users = pc.unique(impressions["user_id"])
    shown, taken = (_items_of_users(table, users) for table in (impressions, followed))
    return Places.of(shown, taken, sum(prices.get(item, 0.0) for item in followed["item_id"].to_pylist()))


def _items_of_users(table: pa.Table, users: pa.Array) -> npt.NDArray[np.int64]:
    """[U] different items of each user in a table of `user_id` and `item_id`."""
    pairs = table.group_by(["user_id", "item_id"]).aggregate([])
    return np.bincount(np.asarray(pc.index_in(pairs["user_id"], value_set=users)), minlength=len(users))


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

    def interval(self) -> Interval:
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

    def share_interval(self) -> Interval:
        """The same of values that are 0 or 1: within 0 and 1, and no point where all are equal.

        >>> Mean.of(np.zeros(48)).share_interval()
        (0.0, 0.0, 0.074103)
        """
        share = self.total / self.num
        return _wilson(share, self.num) if self.num > 1 else (round(share, 6), None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Places that users were shown, and what came of them: sums over users, which can be added over shards."""

    users: int = 0
    """Users who were shown something."""
    shown: int = 0
    taken: int = 0
    revenue: float = 0.0
    """Prices of the events with the items of these places."""
    shown_squares: int = 0
    taken_squares: int = 0
    products: int = 0
    """Σ of the places that a user was shown times those that the user took."""

    @classmethod
    def of(cls, shown: npt.NDArray[np.int64], taken: npt.NDArray[np.number], revenue: float) -> "Places":
        """Of users [N] by the places that each was shown, at least one, and those that each took."""
        taken = taken.astype(np.int64)
        return cls(
            users=len(shown),
            shown=int(shown.sum()),
            taken=int(taken.sum()),
            revenue=revenue,
            shown_squares=int((shown**2).sum()),
            taken_squares=int((taken**2).sum()),
            products=int((shown * taken).sum()),
        )

    def __add__(self, other: "Places") -> "Places":
        return Places(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})

    def taken_share(self) -> Interval:
        """The share of the places that was taken, lower and upper bound; one user alone has no bounds.

        A user takes many places or none, so that places say less than as many independent ones. The interval is that of
        so many independent places as have the variance of the share over users (Kish, *Survey Sampling*, 1965: the
        design effect).

        >>> Places.of(np.full(10, 4), np.array([4] * 5 + [0] * 5), 0.0).taken_share()
        (0.5, 0.226526, 0.773474)
        """
        share = self.taken / self.shown
        if self.users == 1:
            return round(share, 6), None, None
        spread = self.taken_squares - 2 * share * self.products + share**2 * self.shown_squares
        variance = spread / self.shown**2 * self.users / (self.users - 1)
        alone = share * (1 - share) / self.shown
        return _wilson(share, self.shown * alone / max(variance, alone) if alone else self.shown)


def _wilson(share: float, num: float) -> Interval:
    """The interval of a share of so many independent values (Wilson, JASA 1927)."""
    scale = 1 + _Z**2 / num
    middle = (share + _Z**2 / (2 * num)) / scale
    error = _Z * (share * (1 - share) / num + _Z**2 / (4 * num**2)) ** 0.5 / scale
    return round(share, 6), round(max(middle - error, 0.0), 6), round(min(middle + error, 1.0), 6)
