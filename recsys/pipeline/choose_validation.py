"""From which users the validation users are drawn: those who were active shortly before the cutoff."""

import pyarrow as pa

from recsys.data.splits import last_timestamps
from recsys.pipeline.records import ValidationUsers
from recsys.pipeline.run import Run

#: Periods before the cutoff, in days. The shortest that holds enough users is taken.
PERIODS_DAYS = tuple(7 * 2**doubled for doubled in range(11))


def count_active_users(run: Run, train: pa.Table) -> list[int]:
    """Users of one shard with a basket to hold out, for each period: those whose last basket is in it.

    Args:
        run: The run.
        train: Sorted interactions before the cutoff, of whole users.
    """
    moments = last_timestamps(train)
    age_days = (run.cutoff.timestamp() - moments / 1e6) / 86_400
    return [int((age_days <= days).sum()) for days in PERIODS_DAYS]


def choose_validation(run: Run, active: list[int]) -> ValidationUsers:
    """The shortest period with `train.validation_users` users, and the share of its users to draw.

    Args:
        run: The run.
        active: Users by period, over all shards.
    """
    wanted = run.config.train.validation_users
    enough = [place for place, num in enumerate(active) if num >= wanted]
    place = enough[0] if enough else len(active) - 1
    return ValidationUsers(days=PERIODS_DAYS[place], share=min(1.0, wanted / max(active[place], 1)))
