"""Popularity: how often people took an item, over several horizons. An event counts by its weight.

Several horizons side by side show which items are on their way up and which have had their time.

Shapes: B users, C candidates, G days, H horizons, I items, N counts.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.times.moments import MICROS_PER_DAY
from recsys.schema import DAY_COUNTS
from recsys.signals.donors import Donors
from recsys.signals.selection import best_positive
from recsys.signals.signal import (
    NONE,
    CountedShards,
    Counting,
    DataView,
    Evidence,
    Explanation,
    LoadedSignal,
    NightSource,
    ShardEvents,
    Signal,
)
from recsys.signals.typicality import typicality
from recsys.signals.users import UserBlock

#: Column → days that it looks back; None: all days.
HORIZONS: dict[str, int | None] = {
    "popularity": 7,
    "popularity_month": 28,
    "popularity_quarter": 91,
    "popularity_ever": None,
}
#: Days of the longest horizon but the last.
LONGEST_DAYS = max(days for days in HORIZONS.values() if days is not None)
#: What an average week of an item counts beside its last week: it orders items that nobody took lately.
AVERAGE_WEEK = 0.1
#: In the place of a day: all days before the others.
BEFORE = -1
#: Places among the sentences.
_POPULAR, _TYPICAL = range(2)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Popularity(Signal):
    """How many people took the item lately, and over longer times."""

    name = "popularity"
    columns: ClassVar = {
        "popularity": "how often the item was taken in the last 7 days",
        "popularity_month": "the same in the last 28 days",
        "popularity_quarter": "the same in the last 91 days",
        "popularity_ever": "the same over all time",
    }
    sentences = ("popular now", "typical of this shop")
    default_weights: ClassVar = {"popularity": 0.3}
    views: ClassVar[tuple[DataView, ...]] = ("full",)  # a day's popularity counts only the days before it
    counted = DAY_COUNTS
    merged = DAY_COUNTS
    imputed = True

    def count(self, events: ShardEvents, counting: Counting) -> pa.Table:
        """Interactions and their weights by day and item, and before all days that a horizon of validation reaches."""
        days = np.asarray(events.interactions["timestamp"].cast(pa.int64())) // MICROS_PER_DAY
        days = np.where(days >= counting.first_day - LONGEST_DAYS, days, BEFORE)
        known = events.catalog_items >= 0
        weights = np.asarray(events.interactions["weight"])[known]
        columns = (days[known], events.catalog_items[known], np.ones(len(weights)), weights)
        return _summed(pa.table(dict(zip(DAY_COUNTS.names, columns, strict=True))).cast(DAY_COUNTS))

    def merge(self, shards: CountedShards, counting: Counting) -> Iterable[pa.Table]:  # noqa: ARG002
        """The sums of the shards, by day and item."""
        yield _summed(pa.concat_tables([DAY_COUNTS.empty_table(), *shards.tables()]))

    def load(self, source: NightSource) -> "LoadedPopularity":
        """The popularity as each of the view's days begins; where nobody took anything, how typical the texts are."""
        counted = source.counted()
        if not len(counted):
            shape = (len(source.days), len(HORIZONS), len(source.item_ids))
            typical = np.broadcast_to(typicality(source.text_vectors), shape)
            return LoadedPopularity(typical, source.days, source.recommendable, _TYPICAL)
        # the weights of later days must not count, not even in the mean weight
        counted = counted.filter(pc.less(counted["day"], int(source.days[-1])))
        days, items = (counted[name].to_numpy().astype(np.int64) for name in ("day", "item"))
        weights = counted["weight"].to_numpy()
        if len(weights):  # only how weights compare matters
            weights = weights / (weights.sum() / counted["num"].to_numpy().sum())
        on_day = days != BEFORE
        before = np.bincount(items[~on_day], weights[~on_day], minlength=len(source.item_ids)).astype(np.float64)
        counts = (days[on_day], items[on_day], weights[on_day])
        popularity = log_popularity(*counts, before, source.days, source.oldest_day)
        return LoadedPopularity(popularity, source.days, source.recommendable)


class LoadedPopularity(LoadedSignal):
    """Popularity of all items as some days begin."""

    def __init__(self, popularity: Floats, days: Ints, recommendable: Bools, sentence: int = _POPULAR) -> None:
        """Hold the popularity of some days.

        Args:
            popularity: [G, H, I] of `log_popularity`.
            days: [G].
            recommendable: [I] items that may be recommended.
            sentence: Place among the sentences of the signal.
        """
        self.popularity, self.days, self.recommendable = popularity, days, recommendable
        self.sentence = sentence
        self._most_popular: dict[int, Ints] = {}

    def impute(self, donors: Donors) -> "LoadedPopularity":
        """A cold item has the average counts of its donors."""
        popularity = self.popularity.copy()
        num_items = popularity.shape[-1]
        averages = np.log1p(donors.average_columns(np.expm1(popularity).reshape(-1, num_items)))
        popularity[..., donors.cold] = averages.reshape(*popularity.shape[:-1], -1)
        return LoadedPopularity(popularity, self.days, self.recommendable, self.sentence)

    def read(self, users: UserBlock) -> "PopularityEvidence":
        """The day on which each user is scored."""
        today = np.searchsorted(self.days, users.now // MICROS_PER_DAY, side="right") - 1
        return PopularityEvidence(self, users, np.maximum(today, 0))

    def explain(self, users: UserBlock, rows: Ints, items: Ints, weights: Floats) -> Explanation:
        """By the sentence."""
        said = super().explain(users, rows, items, weights)
        return replace(said, sentence=np.where(said.sentence == NONE, NONE, self.sentence))

    def most_popular(self, num: int) -> Ints:
        """[G, num] items that may be recommended, those with the highest first horizon; −1 where there are fewer.

        The answer is kept: for a single user it takes as long as all sums over neighbours.
        """
        if num not in self._most_popular:
            shown = np.where(self.recommendable, self.popularity[:, 0], np.float32(0))
            self._most_popular[num] = best_positive(shown, num)
        return self._most_popular[num]


class PopularityEvidence(Evidence):
    """The popularity that holds for a block of users."""

    loaded: LoadedPopularity

    def __init__(self, loaded: LoadedPopularity, users: UserBlock, day: Ints) -> None:
        """``day`` [B] is the place of each user's day among the days of the view."""
        super().__init__(loaded, users)
        self.day = day

    def propose(self, num: int) -> Ints:
        """As many items as are asked for."""
        return self.loaded.most_popular(2 * max(num // 2, 1))[self.day]

    def measure(self, items: Ints) -> Floats:
        """[B, C, H] log-counts."""
        chosen = np.maximum(items, 0)
        horizons = range(self.loaded.popularity.shape[1])
        return np.stack([self.loaded.popularity[self.day[:, None], place, chosen] for place in horizons], axis=2)


def log_popularity(
    days: Ints,
    items: Ints,
    weights: npt.NDArray[np.float64],
    before: npt.NDArray[np.float64],
    moments: Ints,
    oldest: int,
) -> Floats:
    """[G, H, I] log(1 + weight of the interactions of a week) over each of the `HORIZONS`, as days begin.

    A horizon that is longer than the known past is as long as that, and at least a week. A small part of an average
    week is added to the last week.

    Args:
        days: [N] rising days since 1970, on which interactions were counted.
        items: [N] items that were taken on these days.
        weights: [N] of the interactions with the item on the day, where 1 is an event of mean weight.
        before: [I] weight of the interactions before the first of the days.
        moments: [G] rising days.
        oldest: Day of the oldest interaction.
    """
    found = np.empty((len(moments), len(HORIZONS), len(before)), dtype=np.float32)
    for place, length in enumerate(HORIZONS.values()):
        counts = np.zeros(len(before)) if length is not None else before.copy()
        begun = ended = 0
        for row, moment in enumerate(moments):
            known = max(int(moment) - oldest, 7)
            reach = known if length is None else min(length, known)
            first = 0 if length is None else int(np.searchsorted(days, moment - reach))
            last = int(np.searchsorted(days, moment))
            counts += np.bincount(items[ended:last], weights[ended:last], minlength=len(before))
            counts -= np.bincount(items[begun:first], weights[begun:first], minlength=len(before))
            np.maximum(counts, 0.0, out=counts)  # sums of fractions may leave a little less than nothing
            begun, ended = first, last
            found[row, place] = counts * 7 / reach
    found[:, 0] += AVERAGE_WEEK * found[:, -1]
    return np.log1p(found, out=found)


def _summed(counts: pa.Table) -> pa.Table:
    """DAY_COUNTS with one row for each day and item."""
    # in one thread, since sums of fractions depend on their order
    groups = counts.group_by(["day", "item"], use_threads=False)
    summed = groups.aggregate([("num", "sum"), ("weight", "sum")]).rename_columns(DAY_COUNTS.names)
    return summed.sort_by([("day", "ascending"), ("item", "ascending")]).cast(DAY_COUNTS)
