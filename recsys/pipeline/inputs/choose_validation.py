"""From which users the validation users are drawn: from those who were active shortly before the cutoff.

Lists are made for all users, and most of them have short histories. Who was active in the last days has a longer one
than most. So as many users of each length of the history are drawn as the shop has, and a longer period before the
cutoff is taken where the last days hold too few of them.

Shapes: P periods, L groups of users by the length of their history.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import user_runs
from recsys.data.splits import known_lengths
from recsys.pipeline.input_records import ValidationUsers
from recsys.pipeline.run import LENGTH_BOUNDS, Run

#: Periods before the cutoff, in days. The shortest that holds enough users is taken.
PERIODS_DAYS = tuple(7 * 2**doubled for doubled in range(11))
#: With fewer users nobody is held out where training would have nothing left: half of a few users may be all.
MIN_TO_HALVE = 60
#: Validation users where `train.validation_users` is null: at most so many, and at most this share of all users, but as
#: many as the few where there are. Trees over the signals need thousands; training does without their last baskets.
MOST_USERS, MOST_SHARE, FEW_USERS = 6000, 1 / 3, 500
#: A period holds enough users where it has so much of what is wanted.
ENOUGH = 0.8

Ints = npt.NDArray[np.int64]


def count_users(train: pa.Table) -> list[int]:
    """[L] users of one shard, by the events of their whole history before the cutoff.

    Args:
        train: Sorted interactions before the cutoff, of whole users.
    """
    return _by_length(np.diff(user_runs(train)[1]))


def count_active_users(run: Run, train: pa.Table) -> list[list[int]]:
    """[P, L] users of one shard with a basket to hold out, for each period: those whose last basket is in it.

    They are counted by the events before that basket, which are what a list for them would be made of.

    Args:
        run: The run.
        train: As in `count_users`.
    """
    _, offsets = user_runs(train)
    moments = np.asarray(pc.cast(train["timestamp"], pa.int64()))
    age_days = (run.cutoff.timestamp() - moments[offsets[1:] - 1] / 1e6) / 86_400
    lengths = known_lengths(train)
    return [_by_length(lengths[(age_days <= days) & (lengths > 0)]) for days in PERIODS_DAYS]


def count_trainable_users(run: Run, train: pa.Table) -> list[int]:
    """[P] users of one shard whom training can learn from, if all users of the period are held out.

    Arguments as in `count_active_users`.
    """
    offsets = user_runs(train)[1]
    moments = np.asarray(pc.cast(train["timestamp"], pa.int64()))
    lengths, known = np.diff(offsets), known_lengths(train)
    held_out = np.where(known > 0, lengths - known, 0)  # with one basket there is nothing to predict it from
    age_days = (run.cutoff.timestamp() - moments[offsets[1:] - 1] / 1e6) / 86_400
    return [int((lengths - held_out * (age_days <= days) > 1).sum()) for days in PERIODS_DAYS]


def choose_validation(run: Run, users: list[int], active: list[list[int]], trainable: list[int]) -> ValidationUsers:
    """The shortest period with enough users of each length, and the share of its users to draw.

    In a small shop that may be all users. Where training would have nothing left then, half of them are drawn.

    Args:
        run: The run.
        users: [L] of `count_users`, over all shards.
        active: [P, L] of `count_active_users`, over all shards.
        trainable: [P] of `count_trainable_users`, over all shards.
    """
    there = np.array(active)
    wanted = _wanted(run.config.train.validation_users, int(there[-1].sum()))
    due = wanted * np.array(users) / max(sum(users), 1)
    found = np.minimum(there, due).sum(axis=1)
    if there[-1].sum() <= wanted:  # all are drawn, of whatever length
        place, shares = len(there) - 1, np.ones(len(users))
        if not trainable[place]:
            shares[:] = 0.5 if there[place].sum() >= MIN_TO_HALVE else 0.0
    else:
        place = int(np.flatnonzero(found >= min(ENOUGH * wanted, found[-1]))[0])
        shares = np.minimum(due / np.maximum(there[place], 1), 1.0)
    return ValidationUsers(days=PERIODS_DAYS[place], shares=shares.tolist())


def _wanted(configured: int | None, most: int) -> int:
    return configured or max(min(MOST_USERS, int(most * MOST_SHARE)), FEW_USERS)


def _by_length(lengths: Ints) -> list[int]:
    """[L] how many of some lengths are in each group."""
    groups = np.searchsorted(LENGTH_BOUNDS, lengths, side="right")
    return [int(num) for num in np.bincount(groups, minlength=len(LENGTH_BOUNDS) + 1)]
