"""Stores feedback events durably, for the next nightly run.

An event is acknowledged when it is durable, never before. One process recognises repeated events by their ids; the
nightly run drops the repeats among all processes.
"""

import asyncio
import datetime as dt
import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from recsys.data.events.feedback import FEEDBACK_COLUMNS, FEEDBACK_DIR
from recsys.schema import USUAL_EVENT
from recsys.serving.contracts import Accepted, FeedbackEvent
from recsys.storage.append_log import AppendLog
from recsys.storage.filesystem import Storage


@dataclass(slots=True, eq=False)
class _Group:
    """Events that are written with one sync."""

    durable: asyncio.Future[None]
    lines: list[bytes] = field(default_factory=list)
    num_bytes: int = 0
    event_ids: list[str] = field(default_factory=list)


class FeedbackLog:
    """The feedback of one process, in files below `<storage>/feedback/`; for one event loop.

    Events that arrive while a group is being written form the next group. So the throughput does not depend on the
    latency of the disk or of S3. On S3 a group is an object: a group that is small waits until `interval_s` after the
    last object was begun.
    """

    def __init__(
        self,
        storage: Storage,
        writer: str,
        *,
        interval_s: float = 1.0,
        max_group_bytes: int = 1 << 20,
        max_file_bytes: int = 64 << 20,
        remembered_ids: int = 100_000,
    ) -> None:
        """Write nothing yet; the first event makes the folder and the file.

        Args:
            storage: The storage of the nightly runs.
            writer: Name of this process; it is part of the file names, for people.
            interval_s: Least seconds from the begin of one object to the next, on S3. Local files are appended to at
                once.
            max_group_bytes: A group of so many bytes does not wait.
            max_file_bytes: A file has at most about this many bytes.
            remembered_ids: Repeats of this many newest ids are recognised.

        Raises:
            ConfigError: the writer's name cannot be part of a file name.
        """
        self._log = AppendLog(storage, FEEDBACK_DIR, writer, max_bytes=max_file_bytes)
        # A thread of its own: the loop never waits for the disk, and writing never waits for other work of the process.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feedback")
        self._interval_s = 0.0 if storage.is_local else interval_s
        self._max_group_bytes = max_group_bytes
        self._due_at = -math.inf  # by the clock of the loop
        self._timer: asyncio.TimerHandle | None = None
        self._remembered_ids = remembered_ids
        self._durable_ids: OrderedDict[str, None] = OrderedDict()
        self._in_flight: dict[str, _Group] = {}
        self._waiting: _Group | None = None
        self._writing: _Group | None = None
        self._closed = False

    async def append(self, events: Sequence[FeedbackEvent]) -> Accepted:
        """Return when all the events are durable, also repeats of events that are still being written.

        Cancelling the call does not withdraw its events. After an error some of the events may be stored; sending all
        of them again is safe.

        Raises:
            ConfigError: the storage cannot be used: no bucket, no credentials, no right to write.
            StorageError, OSError: the disk or the bucket is full or failed; nothing is acknowledged.
            RuntimeError: the log was closed.
        """
        if self._closed:
            raise RuntimeError("the feedback log is closed; open a new one")
        now = dt.datetime.now(dt.UTC)
        lines = [feedback_line(event, now) for event in events]
        awaited: dict[_Group, None] = {}
        num_new = 0
        for event, line in zip(events, lines, strict=True):
            if event.event_id in self._durable_ids:
                continue
            group = self._in_flight.get(event.event_id)
            if group is None:
                group = self._enqueue(event.event_id, line)
                num_new += 1
            awaited[group] = None
        self._write_if_due()
        if awaited:
            # unlike await, it does not cancel them when the caller is cancelled
            await asyncio.wait([group.durable for group in awaited])
        for group in awaited:
            group.durable.result()
        return Accepted(accepted=num_new, duplicates=len(events) - num_new)

    async def close(self) -> None:
        """Return when every event is durable or has failed, and the file is closed. Nothing waits for its interval."""
        if self._closed:
            return
        self._closed = True
        self._write_if_due()
        while (group := self._waiting or self._writing) is not None:
            await asyncio.wait([group.durable])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._log.close)
        self._thread.shutdown()

    def _enqueue(self, event_id: str, line: bytes) -> _Group:
        if self._waiting is None:
            self._waiting = _Group(asyncio.get_running_loop().create_future())
        self._waiting.lines.append(line)
        self._waiting.num_bytes += len(line)
        self._waiting.event_ids.append(event_id)
        self._in_flight[event_id] = self._waiting
        return self._waiting

    def _write_if_due(self) -> None:
        """Begin to write what waits, or set a timer for it; one group is written at a time."""
        if self._writing is not None or self._waiting is None:
            return
        loop = asyncio.get_running_loop()
        if self._closed or self._waiting.num_bytes >= self._max_group_bytes or self._due_at <= loop.time():
            self._write(self._waiting)
        elif self._timer is None:
            self._timer = loop.call_at(self._due_at, self._end_interval)

    def _end_interval(self) -> None:
        self._timer, self._due_at = None, -math.inf  # the timers of a loop may be early by a tick of its clock
        self._write_if_due()

    def _write(self, group: _Group) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._writing, self._waiting = group, None
        loop = asyncio.get_running_loop()
        self._due_at = loop.time() + self._interval_s
        written = loop.run_in_executor(self._thread, self._log.append, b"".join(group.lines))
        written.add_done_callback(partial(self._settle, group))

    def _settle(self, group: _Group, written: "asyncio.Future[None]") -> None:
        """Give the callers of a group its result, and start to write the next group."""
        for event_id in group.event_ids:
            del self._in_flight[event_id]
        error = written.exception()
        if error is None:
            self._durable_ids.update(dict.fromkeys(group.event_ids))
            while len(self._durable_ids) > self._remembered_ids:
                self._durable_ids.popitem(last=False)
            group.durable.set_result(None)
        else:
            group.durable.set_exception(error)
            group.durable.exception()  # marks the error as seen, where all callers were cancelled
        self._writing = None
        self._write_if_due()


def feedback_line(event: FeedbackEvent, now: dt.datetime) -> bytes:
    """The event as a line of JSON; "" for no item or no text."""
    values = (
        event.event_id,
        event.user_id,
        event.item_id or "",
        _utc_text(event.timestamp or now),
        event.event or USUAL_EVENT,
        event.weight,
        event.text or "",
    )
    row = dict(zip(FEEDBACK_COLUMNS, values, strict=True))
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _utc_text(time: dt.datetime) -> str:
    """ISO 8601 in UTC. A time that UTC cannot represent (year 1 or 9999) stays as it is: the nightly run rejects it."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=dt.UTC)
    try:
        return time.astimezone(dt.UTC).isoformat()
    except OverflowError:
        return time.isoformat()
