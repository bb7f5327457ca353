"""What a check of the machine, of the storage or of the inputs found."""

from collections.abc import Callable
from dataclasses import dataclass

from recsys.errors import RecsysError, one_line


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The outcome of one check."""

    check: str
    """What was checked, in one or two words."""
    ok: bool
    found: str
    way_out: str = ""
    """What to do, where it is not ok."""


def diagnose(check: str, look: Callable[[], Diagnosis], way_out: str = "") -> Diagnosis:
    """The outcome of a check; an error is one, too. Messages of our own errors name a way out themselves."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 (the other checks shall run)
        return failed(check, error, way_out)


def failed(check: str, error: Exception, way_out: str = "") -> Diagnosis:
    """The outcome of a check that raised an error."""
    if isinstance(error, RecsysError):
        return Diagnosis(check=check, ok=False, found=str(error))
    return Diagnosis(check=check, ok=False, found=one_line(error), way_out=way_out)
