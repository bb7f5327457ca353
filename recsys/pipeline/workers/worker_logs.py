"""Our log lines of workers, brought to the driver as values: the driver does not show what workers print."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

#: The loggers of this package.
OURS = "recsys"
#: Lines that are kept of one part, or of one training.
MOST_LINES = 200


class Line(NamedTuple):
    """One log record; it is stored as a JSON array."""

    level: int
    logger: str
    message: str


class CollectedLines(logging.Handler):
    """Keeps the first lines that a process logs."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record, unless there are too many."""
        if len(self.lines) < MOST_LINES:
            self.lines.append(Line(record.levelno, record.name, record.getMessage()))


@contextmanager
def collected(handler: CollectedLines) -> Iterator[None]:
    """Let a handler collect our lines; the process may serve other work after that, so its level is set back."""
    logger = logging.getLogger(OURS)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def log_lines(lines: Iterable[Line]) -> None:
    """Log the lines in this process, as their loggers."""
    for level, logger, message in lines:
        logging.getLogger(logger).log(level, "%s", message)
