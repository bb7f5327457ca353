"""Log records as lines on stderr: for people, or as JSON. Progress is shown only now and then."""

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from recsys.pipeline.stage_progress import PROGRESS, StageBegins, StageEnds, StepProgress
from recsys.pipeline.workers.quiet_engine import shows_engine

#: Seconds until the first line about the progress of a stage. Each pause after that is twice as long, up to the
#: longest: a stage of some seconds has no such line, and one of an hour has some twenty.
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 300.0

#: Columns of the line of a finished stage.
_ROW = "{:<10} {:>10} {:>11} {:>12} {:>9}  {}"
HEADER = _ROW.format("stage", "seconds", "rows", "rows/s", "peak MB", "result")


def stage_row(told: StageEnds) -> str:
    """The line of a finished stage, in columns below `HEADER`."""
    figures = (f"{told.seconds:,.1f}", f"{told.rows:,}", f"{told.rows_per_s:,.0f}", f"{told.peak_memory_mb:,.0f}")
    return _ROW.format(told.stage, *figures, told.words()).rstrip()


class Pace:
    """Says when a line about progress is due."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """A stage begins."""
        self._pause, self._last = FIRST_PAUSE_S, self._clock()

    def due(self) -> bool:
        """Whether the pause is over; if so, a longer one begins."""
        if (now := self._clock()) - self._last < self._pause:
            return False
        self._pause, self._last = min(2 * self._pause, LONGEST_PAUSE_S), now
        return True


class LogLines(logging.Handler):
    """Writes records as lines to stderr."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._pace = Pace(clock)
        self._is_table = False
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless it only tells progress and no line is due."""
        told = getattr(record, "told", None)
        if isinstance(told, StageBegins):
            self._pace.begin()
        if isinstance(told, StepProgress) and not self._pace.due():
            return
        try:
            for line in self.lines(record, told):
                sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 (as logging's own handlers do)
            self.handleError(record)

    def lines(self, record: logging.LogRecord, told: object) -> list[str]:
        """What is written of a record; the first finished stage comes with the header of the table."""
        at = f"{datetime.fromtimestamp(record.created).astimezone():%H:%M:%S}  "
        if isinstance(told, StageEnds):
            header = [] if self._is_table else [f"{' ' * len(at)}{HEADER}"]
            self._is_table = True
            return [*header, f"{at}{stage_row(told)}"]
        if isinstance(told, StageBegins) and not shows_engine():
            return []
        level = f"{record.levelname}  " if record.levelno >= logging.WARNING else ""
        return [f"{at}{level}{self.format(record)}"]


class JsonLines(LogLines):
    """Writes each record as one line of JSON, for log collectors."""

    def lines(self, record: logging.LogRecord, told: object) -> list[str]:
        """`time` (ISO 8601, UTC), `level`, `logger`, `message`; of stages and progress also `event` and its values."""
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": ("info" if record.levelno == PROGRESS else record.levelname.lower()),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(told, StageBegins | StepProgress | StageEnds):
            values["event"] = _EVENTS[type(told)]
            values |= asdict(told)
        if record.exc_info:
            values["traceback"] = logging.Formatter().formatException(record.exc_info)
        return [json.dumps(values, ensure_ascii=False, default=str)]


_EVENTS = {StageBegins: "stage_begins", StepProgress: "progress", StageEnds: "stage_ends"}
