"""Names of the files of feedback: which day they are of, and who made them.

A day of feedback is a day (UTC) on which the service stored events. Files of other names are a user's own: they are
read, and never merged or deleted.
"""

import datetime as dt
import re
from pathlib import PurePosixPath

#: The service's: the time of the first block, the writer, a random number, and a count.
_STORED = re.compile(r"(\d{8})T\d{6}Z-[A-Za-z0-9._-]{1,100}-[0-9a-f]{12}-\d{6,}\.jsonl")
#: A day's, or a part of it: the begin of that day, the time at which it was written, and a random number.
_COMPACT = re.compile(r"(\d{8})T000000Z-compact-(\d{8}T\d{6}Z)-[0-9a-f]{12}\.jsonl\.zst")
_STAMP = "%Y%m%dT%H%M%SZ"
#: The name of a file begins with the time (UTC) at which its writer opened it.
_STARTED = re.compile(r"^(\d{8}T\d{6}Z)-")


def started_before(path: str, time: dt.datetime) -> bool:
    """Whether a file of feedback was opened before a time (aware), by its name; true if the name does not say it."""
    started = _STARTED.match(PurePosixPath(path).name)
    return started is None or started[1] < time.astimezone(dt.UTC).strftime(_STAMP)


def stored_day(name: str) -> dt.date | None:
    """Day of a file that the service stored; None for any other file."""
    return _day(_STORED.fullmatch(name))


def compact_day(name: str) -> dt.date | None:
    """Day of a compact file; None for any other file."""
    return _day(_COMPACT.fullmatch(name))


def file_day(path: str) -> dt.date | None:
    """Day of a file that the service stored, or of a compact one; None for any other file."""
    name = PurePosixPath(path).name
    return stored_day(name) or compact_day(name)


def compact_name(day: dt.date, written_at: dt.datetime, random: str) -> str:
    """Name of a new compact file: nights up to `day` find it where they would have found what it contains."""
    return f"{day:%Y%m%d}T000000Z-compact-{written_at.astimezone(dt.UTC):{_STAMP}}-{random}.jsonl.zst"


def compact_written_at(name: str) -> dt.datetime:
    """When a compact file was written (UTC)."""
    found = _COMPACT.fullmatch(name)
    assert found is not None, name
    return dt.datetime.strptime(found[2], _STAMP).replace(tzinfo=dt.UTC)


def _day(found: re.Match[str] | None) -> dt.date | None:
    if found is None:
        return None
    try:
        return dt.datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=dt.UTC).date()
    except ValueError:  # such as month 13: no name of ours
        return None
