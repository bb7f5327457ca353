"""Which runs of a storage stay, by their dates and by who may still read them. Nothing is read or deleted here."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence

from recsys.storage.config import RetentionConfig
from recsys.storage.night_dates import is_after_tomorrow


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run of the storage."""

    run_id: str
    date: dt.date
    published_at: dt.datetime | None = None
    """None: readers cannot find its lists."""
    active_at: dt.datetime | None = None
    """When somebody was last seen to work on it; None: nobody knows."""
    half_deleted: bool = False
    """Whether a deletion of it was begun."""


def kept_runs(
    runs: Iterable[StoredRun], latest: str | None, settings: RetentionConfig, now: dt.datetime
) -> dict[str, str]:
    """Why each run stays, by its id; a run that is not named may be deleted.

    All published runs of a date stay or go together, since the runs of `--force` answer for each other. Those of dates
    after tomorrow (UTC) stay, and the rules do not count them: such a date, or the clock, is wrong.

    Args:
        runs: All runs of the storage.
        latest: The run that LATEST names; None: it names none.
        settings: The rules.
        now: With a time zone.
    """
    runs = list(runs)
    published = [run for run in runs if run.published_at is not None]
    reasons: dict[dt.date, str] = {}
    for run in published:
        if run.run_id != latest and _may_be_read(run, published, latest, settings, now):
            reasons[run.date] = "may still be read"
    today = now.astimezone(dt.UTC).date()
    reasons |= dict.fromkeys(_newest(published, settings, today), "kept")
    reasons |= dict.fromkeys((run.date for run in published if run.run_id == latest), "latest")
    kept = {run.run_id: reasons[run.date] for run in published if run.date in reasons}
    unfinished = [run for run in runs if run.published_at is None and not run.half_deleted]
    return kept | {run.run_id: "unfinished" for run in unfinished if _may_go_on(run, settings, now)}


def _may_go_on(run: StoredRun, settings: RetentionConfig, now: dt.datetime) -> bool:
    oldest = now - dt.timedelta(days=settings.unfinished_days)
    return not settings.is_on or run.active_at is None or run.active_at > oldest


def _newest(published: Sequence[StoredRun], settings: RetentionConfig, today: dt.date) -> set[dt.date]:
    """Dates that the two rules keep, and those after tomorrow."""
    dates = sorted({run.date for run in published})
    if not settings.is_on:
        return set(dates)
    past = [date for date in dates if not is_after_tomorrow(date, today)]
    by_number = past[-settings.keep_nights :] if settings.keep_nights is not None else []
    days = 0 if settings.keep_days is None else settings.keep_days
    by_days = [date for date in past if (min(past[-1], today) - date).days < days]
    return {*by_number, *by_days, *dates[len(past) :]}


def _may_be_read(
    run: StoredRun, published: Sequence[StoredRun], latest: str | None, settings: RetentionConfig, now: dt.datetime
) -> bool:
    """Whether LATEST may have named the run within the grace time.

    LATEST moved away at the latest when a run of the same or a later date was published; else when the run was
    published that LATEST names now.
    """
    assert run.published_at is not None
    times = [other.published_at for other in published if other.published_at is not None and other.date >= run.date]
    later = [time for time in times if time > run.published_at]
    current = [other.published_at for other in published if other.run_id == latest and other.published_at is not None]
    left = min(later) if later else max([run.published_at, *current])
    return left > now - dt.timedelta(hours=settings.grace_hours)
