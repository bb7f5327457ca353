"""Two starts at once: of the same night, and of different nights of a storage."""

import datetime as dt
from random import Random

from recsys.storage.filesystem import Storage
from recsys.storage.nights import published_nights
from tests.faults.checks import check_output, check_published
from tests.faults.findings import LostError
from tests.faults.shop import Shop

#: Exit code of a start that finds its night held by another.
LOCKED = 5
#: Seconds between two starts, at most.
APART_S = 2.0


def same_night(shop: Shop, number: int) -> None:
    """One makes the lists, the other is kept out, or finds them published. Odd numbers start at the same time."""
    attempt = shop.attempt("twice", shop.night_before)
    first = attempt.inline()
    first.process.join(_apart_s(number))
    second = attempt.inline()
    for night in (first, second):
        check_output(night, 0, LOCKED)
    if first.wait() == second.wait() == LOCKED:
        raise LostError(f"{attempt.root}: each start was kept out by the other")
    check_published(attempt.root, expected=shop.expected)


def two_nights(shop: Shop, number: int) -> None:
    """An older night is made beside today's: both are published, and LATEST names today's."""
    attempt = shop.attempt("two-nights", shop.night_before)
    older = shop.today - dt.timedelta(days=2)
    starts = [(), ("--date", older.isoformat())]
    nights = []
    for options in starts if number % 4 < 2 else starts[::-1]:
        nights.append(attempt.inline(*options))
        nights[0].process.join(_apart_s(number))
    for night in nights:
        check_output(night, 0)
    latest = check_published(attempt.root, expected=shop.expected)
    if latest.run_date != shop.today:
        raise LostError(f"{attempt.root}: LATEST names the night of {latest.run_date}")
    found = {night.run_date: night.run_id for night in published_nights(Storage(str(attempt.root)))}
    if older not in found or len(found) != 3:
        raise LostError(f"{attempt.root}: published nights are {found}")
    check_published(attempt.root, found[older])


def _apart_s(number: int) -> float:
    return 0.0 if number % 2 else Random(number).uniform(0.0, APART_S)  # noqa: S311
