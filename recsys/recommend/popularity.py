"""Popularity as a signal of every score; it knows counts and no models."""

import numpy as np
import numpy.typing as npt

#: What a usual week of an item counts beside its last one: it orders what nobody took lately.
USUAL_WEEK = 0.1


def log_popularity(
    week: npt.NDArray[np.integer], ever: npt.NDArray[np.integer], num_weeks: float
) -> npt.NDArray[np.float32]:
    """log(1 + n): n interactions of the last week and, a little, of a usual one; float32 of the broadcast shape.

    Args:
        week: [I] or [G, I] interactions of the last week.
        ever: [I] interactions of all time.
        num_weeks: Weeks that `ever` spans.
    """
    return np.log1p(week + USUAL_WEEK * ever / max(num_weeks, 1.0)).astype(np.float32)


def daily_log_popularity(
    counts: npt.NDArray[np.integer], ever: npt.NDArray[np.integer], num_weeks: float, days: int
) -> npt.NDArray[np.float32]:
    """`log_popularity` before each day: [G - days + 1, I], row g of the `days` days before day `g + days`.

    Args:
        counts: [G, I] interactions of G days in a row.
        ever: [I] interactions of all time.
        num_weeks: Weeks that `ever` spans.
        days: Length of a week.
    """
    sums = np.concatenate([np.zeros((1, counts.shape[1]), dtype=np.int64), np.cumsum(counts, axis=0)])
    return log_popularity(sums[days:] - sums[:-days], ever, num_weeks)
