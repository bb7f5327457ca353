"""The history of published nights."""

import datetime as dt
import re

from recsys.errors import InputError
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, read_latest
from recsys.storage.manifest import MANIFEST
from recsys.storage.night_dates import is_after_tomorrow
from recsys.storage.publish import pointer_to
from recsys.storage.runs import RunFolder

_PUBLISHED = re.compile(rf"run_date=[^/]+/run_id=([^/]+)/{re.escape(MANIFEST)}")


def published_runs(storage: Storage) -> list[Latest]:
    """Every published run, oldest first: by date, and of one date by the time of publication.

    Raises:
        InputError: LATEST or the receipt of a run is damaged.
    """
    names = storage.list("recommendations", recursive=True)
    run_ids = [found[1] for name in names if (found := _PUBLISHED.fullmatch(name))]
    pointers = (pointer_to(RunFolder(storage, run_id)) for run_id in run_ids)
    return sorted((one for one in pointers if one is not None), key=lambda one: (one.run_date, one.published_at))


def published_nights(storage: Storage) -> list[Latest]:
    """One run for each date, oldest first: the one that was published last.

    Nights of a date after tomorrow (UTC) are left out where LATEST names an older one: it was pointed back from them,
    since their year was mistyped or the clock was wrong.

    Raises:
        InputError: LATEST or the receipt of a run is damaged.
    """
    latest, today = read_latest(storage), dt.datetime.now(dt.UTC).date()
    kept = [
        run
        for run in published_runs(storage)
        if latest is None or run.run_date <= latest.run_date or not is_after_tomorrow(run.run_date, today)
    ]
    return list({run.run_date: run for run in kept}.values())


def require_nights(storage: Storage, least: int, purpose: str) -> list[Latest]:
    """`published_nights`, for callers that need some.

    Raises:
        InputError: there are fewer than `least`, or a receipt is damaged.
    """
    nights = published_nights(storage)
    if len(nights) < least:
        raise InputError(
            f"{storage.root}: published nights: {len(nights)}; {purpose} needs at least {least}, since later "
            f"events are read from a later night"
        )
    return nights
