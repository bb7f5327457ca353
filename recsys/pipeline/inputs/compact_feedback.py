"""Merges the files of feedback of each day that is over into few compressed ones, and deletes days that are too old.

The order of the steps, and what counts after each of them, is in `feedback_index`. No lock is needed: of several
processes that merge the same files one changes the index, and the others stop.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recsys.data.events.feedback import FEEDBACK_DIR
from recsys.data.events.feedback_names import compact_day, compact_written_at, stored_day
from recsys.errors import InputError
from recsys.pipeline.inputs.feedback_index import (
    INDEX_PATH,
    CompactFile,
    change_index,
    check_index,
    read_index,
    read_sources,
    sources_path,
)
from recsys.pipeline.inputs.write_compact_file import write_compact_file
from recsys.storage.append_log import MAX_FILE_AGE_S, is_closed
from recsys.storage.filesystem import Storage

logger = logging.getLogger(__name__)

#: A day is over so long after its end: a file takes events for `MAX_FILE_AGE_S`, and clocks of writers may be late.
CLOSED_AFTER = dt.timedelta(seconds=MAX_FILE_AGE_S, hours=1)
#: Files are deleted so long after they were merged: who has listed them can read them to the end.
KEPT_AFTER = dt.timedelta(hours=12)
#: Compact files that the index does not name are deleted after so long: their writer was killed.
ABANDONED_AFTER = dt.timedelta(days=1)
#: Fewer files of a day are not merged.
LEAST_FILES = 8
#: Files that one night merges at most: many years of feedback must not hold up the nights.
MOST_FILES = 200_000
#: Bytes of text in a compact file, about: what one task of a night reads.
TEXT_BYTES = 64 << 20


@dataclass(slots=True)
class Compaction:
    """What was done."""

    merged: int = 0
    """Files of the service that were merged."""
    written: int = 0
    """Compact files that were written."""
    deleted: int = 0
    """Files of the service that were merged earlier and deleted now."""
    forgotten: int = 0
    """Files of days that are too old."""


class _ChangedElsewhereError(Exception):
    """Another process is at the same work."""


def compact_feedback(
    storage: Storage,
    first_day: dt.date = dt.date.min,
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Compaction:
    """Merge the files of days that are over; delete what was merged earlier, and the days before `first_day`.

    It may be killed at any point, and run in several processes at a time: each event stays in one file that counts.

    Args:
        storage: The storage.
        first_day: Oldest day that is kept.
        clock: Gives the time (aware).

    Raises:
        InputError: the index or a compact file is damaged or gone.
        ConfigError, OSError: the storage cannot be used, or failed.
    """
    compactor = _Compactor(storage, clock)
    try:
        compactor.forget(first_day)
        compactor.delete_abandoned()
        compactor.delete_merged()
        compactor.merge()
    except _ChangedElsewhereError:
        logger.info("feedback: another process merges its files")
    done = compactor.done
    if done != Compaction():
        logger.info(
            "feedback: %s files were merged into %s; %s that were merged before and %s of days that are too old are "
            "deleted",
            *(f"{number:,}" for number in (done.merged, done.written, done.deleted, done.forgotten)),
        )
    return done


class _Compactor:
    """The files and the index as they were at the start, with the changes of this process."""

    def __init__(self, storage: Storage, clock: Callable[[], dt.datetime]) -> None:
        self._storage = storage
        self._clock = clock
        self._now = clock()
        # The index first: what another process changes after it makes every change of this one fail.
        self._index, self._data = read_index(storage)
        self._sizes = storage.sizes(FEEDBACK_DIR)
        if self._data is None:  # another process may have begun since
            check_index(storage, read_index(storage)[1], self._sizes)
        self._stored = _over_days(self._sizes, self._now)
        self.done = Compaction()

    def delete_abandoned(self) -> None:
        """Delete compact files that nobody named, and that are so old that their writer must be dead."""
        named = {file.name for file in self._index.files}
        unnamed = [name for name in self._sizes if compact_day(name) is not None and name not in named]
        old = [name for name in unnamed if compact_written_at(name) + ABANDONED_AFTER <= self._now]
        needless = [name for name in old if self._is_needless(name)]
        if needless:
            self._change(self._index.files)  # a writer that was only stopped cannot name its file after this
            self._delete_compact(needless)
        if kept := sorted({*old} - {*needless}):
            logger.warning(
                "%s does not count, and what it holds is nowhere else: is %s an old copy?",
                self._storage.url(_path(kept[0])), self._storage.url(INDEX_PATH),
            )  # fmt: skip

    def _is_needless(self, name: str) -> bool:
        """Whether all that an unnamed compact file holds is in other files that count."""
        if not self._storage.exists(sources_path(name)):
            return True  # its writer was killed before it could be named
        others = [read_sources(self._storage, file.name) for file in self._index.files if file.day == compact_day(name)]
        return read_sources(self._storage, name).keys() <= {*self._sizes}.union(*others)

    def forget(self, first_day: dt.date) -> None:
        """Delete the days before `first_day`."""
        old = [name for name in self._sizes if (day := compact_day(name)) is not None and day < first_day]
        days = [day for day in self._stored if day < first_day]
        # The merged files before the index forgets that they were merged: else they would count again.
        names = [name for day in days for name in self._stored.pop(day) if is_closed(self._storage, _path(name))]
        self._delete(names)
        if old:
            self._change([file for file in self._index.files if file.day >= first_day])
            self._delete_compact(old)
            self._sizes = {name: size for name, size in self._sizes.items() if name not in old}
        self.done.forgotten += len(names) + len(old)

    def delete_merged(self) -> None:
        """Take what was merged earlier out of the work, and delete it if it was merged long ago."""
        for file in self._index.files:
            if file.day not in self._stored:
                continue
            sources = read_sources(self._storage, file.name)
            names = [name for name in self._stored[file.day] if name in sources]
            merged = [name for name in names if self._sizes[name] <= sources[name].size]
            if merged and dt.datetime.fromisoformat(file.committed_at) + KEPT_AFTER <= self._now:
                self._check(file)
                self._delete(merged)
                self.done.deleted += len(merged)
            self._stored[file.day] = [name for name in self._stored[file.day] if name not in sources]

    def merge(self) -> None:
        """Merge what is left, the oldest day first."""
        for day, names in sorted(self._stored.items()):
            closed = [name for name in names if is_closed(self._storage, _path(name))]
            if len(closed) < LEAST_FILES:
                continue
            for some in _portions(closed, self._sizes):
                if self.done.merged and self.done.merged + len(some) > MOST_FILES:
                    return
                self._merge(day, some)

    def _merge(self, day: dt.date, names: Sequence[str]) -> None:
        if self._data is None:
            self._change(())  # a compact file without any index would be one whose index is lost
        sources = {name: self._sizes[name] for name in names}
        try:
            file = write_compact_file(self._storage, day, sources, self._clock)
        except FileNotFoundError as error:
            raise _ChangedElsewhereError from error
        if file is None:
            return
        try:
            self._change((*self._index.files, file))
        except _ChangedElsewhereError:
            # S3 may have made the change and lost its answer, and others may have changed the index again.
            if all(named.name != file.name for named in read_index(self._storage)[0].files):
                self._delete_compact([file.name])
            raise
        self.done.merged += len(names)
        self.done.written += 1

    def _check(self, file: CompactFile) -> None:
        """Before the last copy of what it holds goes, read the compact file again."""
        if not self._storage.exists(file.path) or self._storage.sha256(file.path) != file.sha256:
            raise InputError(
                f"{self._storage.url(file.path)}: is damaged or gone; restore it, or take it out of "
                f"{self._storage.url(INDEX_PATH)} while its {file.sources:,} sources are there: they count again then"
            )

    def _change(self, files: Iterable[CompactFile]) -> None:
        changed = change_index(self._storage, self._index, self._data, files)
        if changed is None:
            raise _ChangedElsewhereError
        self._index, self._data = changed

    def _delete(self, names: Sequence[str]) -> None:
        self._storage.delete_files([_path(name) for name in names])

    def _delete_compact(self, names: Sequence[str]) -> None:
        """Delete compact files that the index does not name; their tables first, so that no table is left alone."""
        self._storage.delete_files([sources_path(name) for name in names])
        self._delete(names)


def _over_days(sizes: Mapping[str, int], now: dt.datetime) -> dict[dt.date, list[str]]:
    """Files of the service of days that are over, in the order of their names; those that hold something."""
    found: dict[dt.date, list[str]] = {}
    for name, size in sorted(sizes.items()):
        day = stored_day(name)
        if day is not None and size and dt.datetime.combine(day, dt.time.max, dt.UTC) + CLOSED_AFTER <= now:
            found.setdefault(day, []).append(name)
    return found


def _portions(names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Files of `TEXT_BYTES` together, about, and `MOST_FILES` at most."""
    portion: list[str] = []
    num_bytes = 0
    for name in names:
        if portion and (num_bytes + sizes[name] > TEXT_BYTES or len(portion) == MOST_FILES):
            yield portion
            portion, num_bytes = [], 0
        portion.append(name)
        num_bytes += sizes[name]
    yield portion


def _path(name: str) -> str:
    return f"{FEEDBACK_DIR}/{name}"
