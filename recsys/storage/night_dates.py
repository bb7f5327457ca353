"""Which dates a night may have."""

import datetime as dt


def is_after_tomorrow(date: dt.date, today: dt.date) -> bool:
    """Whether a night of this date is of the future: its year was mistyped, or a clock was wrong.

    Tomorrow is allowed: where the sun rises early, the day begins before `today` (UTC) is over.

    >>> is_after_tomorrow(dt.date(2026, 11, 23), dt.date(2026, 11, 22))
    False
    >>> is_after_tomorrow(dt.date(2026, 11, 24), dt.date(2026, 11, 22))
    True
    """
    return date > today + dt.timedelta(days=1)
