"""How the progress of a training comes from its worker to the driver: through one small file in the storage.

The worker may be in a Ray task or below Ray Train, on this machine or another one. All of them reach the storage, and
it needs no process of its own, as an actor would.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT, as_json, from_json
from recsys.pipeline.stage_progress import StepProgress, tell
from recsys.pipeline.workers.worker_logs import CollectedLines, Line, collected, log_lines
from recsys.storage.filesystem import Storage

logger = logging.getLogger(__name__)

#: Seconds between two looks of the driver, and at least between two writes of the worker.
INTERVAL_S = 1.0
#: A write is followed by a pause of so many times its duration: the training must not wait for a slow storage.
PAUSE = 50
#: What a worker calls to say how far it has come.
Tell = Callable[[StepProgress], None]


@dataclass(frozen=True, kw_only=True)
class TrainingNews:
    """The content of the file."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    worker: float
    """When the worker began: a worker that continues after another one died writes its lines from the beginning."""
    progress: StepProgress | None
    lines: list[Line] = field(default_factory=list)
    """All lines that the worker has logged."""


class ProgressWriter:
    """Writes the file, in the worker."""

    def __init__(self, storage: Storage, path: str) -> None:
        self._storage, self._path = storage, path
        self._log = CollectedLines(logging.INFO)
        self._progress: StepProgress | None = None
        self._began = time.time()
        self._next = 0.0

    def tell(self, progress: StepProgress) -> None:
        """Write the progress, unless the last write was a moment ago."""
        self._progress = progress
        start = time.monotonic()
        if start >= self._next:
            self.write()
            end = time.monotonic()
            self._next = end + max(INTERVAL_S, PAUSE * (end - start))

    def write(self) -> None:
        """Write what is known now. No failure here stops the training."""
        try:
            news = TrainingNews(worker=self._began, progress=self._progress, lines=self._log.lines)
            self._storage.write_json(self._path, as_json(news))
        except Exception:
            logger.debug("the progress of the training was not written", exc_info=True)

    @contextmanager
    def open(self) -> Iterator[Tell]:
        """Collect the lines of the worker, and write the last of them at the end."""
        with collected(self._log):
            try:
                yield self.tell
            finally:
                self.write()


class ProgressReader:
    """Reads the file, in the driver, and logs what is new."""

    def __init__(self, storage: Storage, path: str) -> None:
        self._storage, self._path = storage, path
        self._known = TrainingNews(worker=0.0, progress=None)

    def look(self) -> None:
        """Log what was written since the last look. No failure here stops the night."""
        try:
            news = from_json(TrainingNews, self._storage.read_json(self._path))
        except FileNotFoundError:
            return  # the worker has not begun
        except Exception:
            logger.debug("the progress of the training was not read", exc_info=True)
            return
        shown = len(self._known.lines) if news.worker == self._known.worker else 0
        log_lines(news.lines[shown:])
        if news.progress is not None and news.progress != self._known.progress:
            tell(logger, news.progress)
        self._known = news

    @contextmanager
    def following(self) -> Iterator[None]:
        """Look again and again, until the block ends."""
        self._storage.delete(self._path)  # what an earlier start of the night left
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(INTERVAL_S):
                self.look()

        thread = threading.Thread(target=follow, name="training-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.look()
