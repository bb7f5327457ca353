"""Points in time as numpy arrays of microseconds, and how they become timestamps in UTC."""

import difflib
import zoneinfo
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import ConfigError
from recsys.schema import TIMESTAMP

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MICROS_PER_SECOND = 1_000_000
MICROS_PER_DAY = 86_400 * MICROS_PER_SECOND
#: Microseconds from the epoch of 0001-01-01 and 9999-12-31T23:59:59.999999: what Python's datetime can hold.
MIN_MICROS, MAX_MICROS = -62_135_596_800_000_000, 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class Moments:
    """Points in time [N]."""

    micros: Ints
    """Microseconds since 1970 in UTC, or by the local clock where `local`."""
    known: Bools
    local: Bools


def absolute(micros: Ints, known: Bools) -> Moments:
    """Points in time in UTC."""
    return Moments(micros, known, np.zeros(len(micros), bool))


def local(micros: Ints, known: Bools) -> Moments:
    """Points in time by the local clock."""
    return Moments(micros, known, np.ones(len(micros), bool))


def as_timestamps(moments: Moments, timezone: str) -> pa.Array:
    """TIMESTAMP [N], null where unknown or outside of the years 1 to 9999.

    A local time that the clock skipped becomes the end of the gap. One that the clock showed twice is the earlier one.
    """
    in_utc = _timestamps(moments.micros, moments.known & ~moments.local)
    if not moments.local.any():
        return in_utc
    naive = _timestamps(moments.micros, moments.known & moments.local).cast(pa.int64()).cast(pa.timestamp("us"))
    parsed = pc.assume_timezone(naive, timezone, ambiguous="earliest", nonexistent="latest")
    return pc.coalesce(in_utc, _timestamps(*values_and_known(parsed.cast(pa.int64()))))


def check_timezone(timezone: str) -> None:
    """Raise ConfigError if the time zone is unknown."""
    try:
        pc.assume_timezone(pa.array([0], pa.timestamp("us")), timezone)
    except (pa.ArrowInvalid, pa.ArrowKeyError, ValueError) as error:
        like = [
            name for name in sorted(zoneinfo.available_timezones()) if name.lower().endswith(f"/{timezone.lower()}")
        ]
        close = like or difflib.get_close_matches(timezone, zoneinfo.available_timezones(), n=1)
        hint = f"did you mean {close[0]}?" if close else "use a name such as UTC or Europe/London"
        raise ConfigError(f"timezone {timezone!r} is unknown; {hint}") from error


def values_and_known(column: pa.Array, fill: Any = 0) -> tuple[Any, Bools]:
    """Values [N] as numpy, with `fill` for null, and which of them are not null."""
    known = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return pc.fill_null(column, fill).to_numpy(zero_copy_only=False), known


def days_of_calendar(year: Ints, month: Ints, day: Ints) -> tuple[Ints, Bools]:
    """Days since 1970 [N], and which dates the calendar has: 31 June is none."""
    known = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = np.where(known, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(known, day - 1, 0)
    return days.astype(np.int64), known & (days.astype("datetime64[M]") == months)


def micros_of_clock(hour: Ints, minute: Ints, second: Ints) -> tuple[Ints, Bools]:
    """Microseconds since midnight [N], and which times a clock can show.

    ISO 8601 also has 24:00:00, the midnight that ends a day, and leap seconds such as 23:59:60.
    """
    usual = (hour < 24) & (minute < 60) & ((second < 60) | ((second == 60) & (minute == 59)))
    midnight = (hour == 24) & (minute == 0) & (second == 0)
    return ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND, usual | midnight


def _timestamps(micros: Ints, known: Bools) -> pa.Array:
    good = known & (micros >= MIN_MICROS) & (micros <= MAX_MICROS)
    return pa.array(np.where(good, micros, 0), pa.int64(), mask=~good).cast(TIMESTAMP)
