"""Looks up rows of published files for people who cannot wait for a storage that does not answer."""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from recsys.errors import InputError, RecsysError
from recsys.storage.lookup import KeyedFiles

logger = logging.getLogger(__name__)

#: Seconds that a look-up waits. S3 answers in tenths of a second, and is asked again for half a minute if it does not.
WAIT_S = 0.5
#: Seconds for which a storage that refused or failed is left alone.
PAUSE_S = 5.0
#: Late look-ups after which no more are begun.
_MAX_LATE = 2
#: Threads of the service that look up: the one that ranks and the one for published lists.
_CALLERS = 2


class UnreadableError(Exception):
    """Rows cannot be read now: their file is damaged, or the storage does not answer."""


class TimelyRows:
    """Looks up rows in threads of its own, and waits only so long. Any number of threads may use it.

    While the storage is away, which two late look-ups or one failed one show, rows that were not read before are
    unreadable at once. So a storage that is away holds up nobody but the users who show that it is.
    """

    def __init__(self, wait_s: float = WAIT_S, pause_s: float = PAUSE_S) -> None:
        self._wait_s, self._pause_s = wait_s, pause_s
        self._threads = ThreadPoolExecutor(_MAX_LATE + _CALLERS, thread_name_prefix="rows")
        self._late: list[Future[pa.Table]] = []
        self._paused_until = 0.0
        self._warned: set[str] = set()
        """Messages on damaged files that the log has already."""
        self._was_away = False
        self._lock = threading.Lock()

    def of(self, files: KeyedFiles, name: str, key: str) -> pa.Table:
        """The rows of a key, as `KeyedFiles.rows` finds them.

        Raises:
            UnreadableError: the file is damaged, the storage refuses, or it does not answer in time.
        """
        kept = files.kept(name, key)
        if kept is not None:
            return kept
        with self._lock:
            self._settle_late()
            away = len(self._late) >= _MAX_LATE or time.monotonic() < self._paused_until
            if away:
                self._note(away=True)
        if away:
            raise UnreadableError("the storage does not answer")
        looking = self._threads.submit(files.rows, name, key)
        try:
            rows = looking.result(self._wait_s)
        except InputError as error:
            self._warn_once(str(error))
            raise UnreadableError(str(error)) from error
        except (RecsysError, OSError) as error:  # a late look-up is TimeoutError, which is an OSError
            with self._lock:
                if looking.done() and looking.exception() is error:
                    self._pause(error)
                else:
                    self._late.append(looking)
            raise UnreadableError(str(error) or f"the storage did not answer in {self._wait_s:g} s") from error
        with self._lock:
            self._note(away=False)
        return rows

    def _settle_late(self) -> None:
        """Forget the late look-ups that have ended; one that failed shows that the storage is away."""
        ended = [looking for looking in self._late if looking.done()]
        self._late = [looking for looking in self._late if not looking.done()]
        for looking in ended:
            error = looking.exception()
            if isinstance(error, RecsysError | OSError) and not isinstance(error, InputError):
                self._pause(error)

    def _pause(self, error: BaseException) -> None:
        self._paused_until = time.monotonic() + self._pause_s
        self._note(away=True, why=f": {error}")

    def _note(self, *, away: bool, why: str = "") -> None:
        """Tell the log when the storage goes away and when it comes back."""
        if away and not self._was_away:
            logger.warning("the storage does not answer, so users are answered without what it has of them%s", why)
        elif self._was_away and not away:
            logger.info("the storage answers again")
        self._was_away = away

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("users are answered without their rows in it: %s", message)
