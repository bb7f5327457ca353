"""From which users the validation users are drawn: those who were active shortly before the cutoff."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import user_runs
from recsys.data.splits import last_timestamps
from recsys.pipeline.records import ValidationUsers
from recsys.pipeline.run import Run

#: Periods before the cutoff, in days. The shortest that holds enough users is taken.
PERIODS_DAYS = tuple(7 * 2**doubled for doubled in range(11))
#: With fewer users nobody is held out where training would have nothing left: half of a few users may be all.
MIN_TO_HALVE = 60


def count_active_users(run: Run, train: pa.Table) -> list[int]:
    """Users of one shard with a basket to hold out, for each period: those whose last basket is in it.

    Args:
        run: The run.
        train: Sorted interactions before the cutoff, of whole users.
    """
    moments = last_timestamps(train)
    age_days = (run.cutoff.timestamp() - moments / 1e6) / 86_400
    return [int((age_days <= days).sum()) for days in PERIODS_DAYS]


def count_trainable_users(run: Run, train: pa.Table) -> list[int]:
    """Users of one shard whom training can learn from, for each period, if all its users are held out.

    Arguments as in `count_active_users`.
    """
    offsets = user_runs(train)[1]
    moments = np.asarray(pc.cast(train["timestamp"], pa.int64()))
    lengths, newest = np.diff(offsets), moments[offsets[1:] - 1]
    in_last = moments == np.repeat(newest, lengths)
    last = np.add.reduceat(in_last, offsets[:-1], dtype=np.int64) if len(lengths) else lengths
    held_out = np.where(last < lengths, last, 0)  # with one basket there is nothing to predict it from
    age_days = (run.cutoff.timestamp() - newest / 1e6) / 86_400
    return [int((lengths - held_out * (age_days <= days) > 1).sum()) for days in PERIODS_DAYS]


def choose_validation(run: Run, active: list[int], trainable: list[int]) -> ValidationUsers:
    """The shortest period with `train.validation_users` users, and the share of its users to draw.

    In a small shop that may be all users. Where training would have nothing left then, half of them are drawn.

    Args:
        run: The run.
        active: Users by period, over all shards.
        trainable: See `count_trainable_users`; by period, over all shards.
    """
    wanted = run.config.train.validation_users
    enough = [place for place, num in enumerate(active) if num >= wanted]
    place = enough[0] if enough else len(active) - 1
    share = min(1.0, wanted / max(active[place], 1))
    if share == 1 and not trainable[place]:
        share = 0.5 if active[place] >= MIN_TO_HALVE else 0.0
    return ValidationUsers(days=PERIODS_DAYS[place], share=share)
