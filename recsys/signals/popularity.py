"""Popularity as signals of every score, over several horizons; it knows counts by day and no models.

Horizons side by side, weighed together, tell what is on its way up from what has had its time.

Shapes: G moments, H horizons, I items, N counts.
"""

import numpy as np
import numpy.typing as npt

#: Signal → days before a moment that it looks back to; None: all of them.
HORIZONS: dict[str, int | None] = {
    "popularity": 7,
    "popularity_month": 28,
    "popularity_quarter": 91,
    "popularity_ever": None,
}
#: Days that the longest horizon but the last looks back.
LONGEST_DAYS = max(days for days in HORIZONS.values() if days is not None)
#: What a usual week of an item counts beside its last one: it orders what nobody took lately.
USUAL_WEEK = 0.1

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def log_popularity(days: Ints, items: Ints, numbers: Ints, before: Ints, moments: Ints, oldest: int) -> Floats:
    """[G, H, I] log(1 + interactions a week) over each of the `HORIZONS`, as they stand when a day begins.

    A horizon that is longer than what is known is as long as that, and at least a week. To the last week a little of a
    usual one is added.

    Args:
        days: [N] rising days since 1970, of which all interactions from the first on are counted.
        items: [N] items that were taken on these days.
        numbers: [N] how often.
        before: [I] interactions before the first of the days.
        moments: [G] rising days.
        oldest: Day of the oldest interaction.
    """
    found = np.empty((len(moments), len(HORIZONS), len(before)), dtype=np.float32)
    for place, length in enumerate(HORIZONS.values()):
        counts = np.zeros(len(before)) if length is not None else before.astype(np.float64)
        begun = ended = 0
        for row, moment in enumerate(moments):
            known = max(int(moment) - oldest, 7)
            reach = known if length is None else min(length, known)
            first = 0 if length is None else int(np.searchsorted(days, moment - reach))
            last = int(np.searchsorted(days, moment))
            counts += np.bincount(items[ended:last], numbers[ended:last], minlength=len(before))
            counts -= np.bincount(items[begun:first], numbers[begun:first], minlength=len(before))
            begun, ended = first, last
            found[row, place] = counts * 7 / reach
    found[:, 0] += USUAL_WEEK * found[:, -1]
    return np.log1p(found, out=found)
