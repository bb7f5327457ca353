"""The error tree: what a job may stop with, and the exit code each one means.

RecsysError
├── ConfigError      2  the command or the config is wrong
├── NewerFormatError 2  a newer release wrote what is stored
├── InputError       3  the input was refused
├── GateError        4  a gate refused the model or the lists
├── LockedError      5  another run of this night holds the lock
├── StorageError     1  the storage is full, or did not answer
│   └── UnansweredError  the storage did not answer; it is a ConnectionError too
└── EngineError      1  Ray did not start, or its workers died again and again

Anything else that escapes a job is a defect or a broken machine: exit code 1.
"""

from collections.abc import Iterator
from typing import Any, ClassVar


class RecsysError(Exception):
    """An error whose message names the culprit value and the way out."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details = details or {}
        """Figures that led to the error, for `metrics.json` and the last line of a job."""


class ConfigError(RecsysError):
    """The command line or the config is wrong; nothing was started."""

    exit_code = 2


class NewerFormatError(RecsysError):
    """A newer release wrote a stored record, in a form that this release does not know."""

    exit_code = 2


class InputError(RecsysError):
    """The input cannot be used: missing, empty, truncated, or too much of it is bad."""

    exit_code = 3


class GateError(RecsysError):
    """A gate refused the new model or the finished lists; nothing was published."""

    exit_code = 4


class LockedError(RecsysError):
    """Another run of the same night is alive."""

    exit_code = 5


class StorageError(RecsysError):
    """The storage, or a disk of a machine, is full or did not answer; the same command goes on once it is mended."""


class UnansweredError(StorageError, ConnectionError):
    """An object store could not be reached, or did not answer in all tries. Callers need to know OSError only."""


class EngineError(RecsysError):
    """Ray did not start, its cluster was lost, or work ended its workers in every try; the command may work later."""


def one_line(error: BaseException) -> str:
    """An error's type and the first line of its message, for a line of the log."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].strip()


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: Ray wraps what a worker raised, and Ray Train keeps one error for each worker."""
    yield error
    inner = [error.__cause__, getattr(error, "cause", None), *getattr(error, "worker_failures", {}).values()]
    inner.append(getattr(error, "controller_failure", None))
    for cause in inner:
        if isinstance(cause, BaseException) and cause is not error:
            yield from causes(cause)


def is_defect(error: BaseException) -> bool:
    """Whether an error is one of the code: neither ours nor the operating system's. Its traceback helps to mend it."""
    return not any(isinstance(cause, RecsysError | OSError) for cause in causes(error))
