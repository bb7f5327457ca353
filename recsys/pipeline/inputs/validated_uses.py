"""Which nights used which entries of the ledger of validated files, and the deletion of those that none uses any more.

A night notes its entries before it reads them: the clean-up of another night leaves them alone from then on. An entry
that is deleted too early costs a reading of its file, and nothing else.
"""

import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT, as_json, from_json
from recsys.errors import NewerFormatError
from recsys.pipeline.inputs.validated_files import VALIDATED, Ledger
from recsys.storage.filesystem import Storage
from recsys.storage.record_kinds import LEDGER_USE

logger = logging.getLogger(__name__)

#: Entries are kept for so many days after the last night that used them.
KEEP_DAYS = 14
_NIGHTS = f"{VALIDATED}/nights"


@dataclass(frozen=True, kw_only=True)
class LedgerUse:
    """The entries that a night used."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    at: str
    """When the night began to read; ISO 8601, UTC. It is not the night's date, which may lie years before."""
    entries: list[str]
    """As `<settings>/<file>`."""


def note_use(storage: Storage, run_id: str, ledger: Ledger, names: Iterable[str]) -> None:
    """Store that a night uses these entries of a ledger; some of them may not be there yet."""
    use = LedgerUse(
        at=dt.datetime.now(dt.UTC).isoformat(), entries=sorted({f"{ledger.settings}/{name}" for name in names})
    )
    storage.write_json(f"{_NIGHTS}/{run_id}-{ledger.settings}.json", LEDGER_USE.stamp(as_json(use)))


def read_use(storage: Storage, path: str) -> LedgerUse | None:
    """A note of a night; None if this release cannot read it, or the clean-up of another night deleted it."""
    try:
        return from_json(LedgerUse, LEDGER_USE.current(storage.read_json(path), storage.url(path)))
    except FileNotFoundError:
        return None
    except (ValueError, NewerFormatError) as error:
        logger.info("%s does not fit this version (%s)", storage.url(path), error)
        return None


def delete_stale_entries(storage: Storage, now: dt.datetime) -> int:
    """Delete the entries that no night used within `KEEP_DAYS`, and the notes of older nights.

    Args:
        storage: Of the ledger.
        now: Aware.

    Returns:
        How many entries were deleted.
    """
    since = now - dt.timedelta(days=KEEP_DAYS)
    used: set[str] = set()
    for name in storage.list(_NIGHTS):
        path = f"{_NIGHTS}/{name}"
        use = read_use(storage, path)
        if use is None or dt.datetime.fromisoformat(use.at) < since:
            storage.delete(path)
        else:
            used.update(use.entries)
    files = [name for name in storage.list(VALIDATED, recursive=True) if not name.startswith("nights/")]
    stale = {name.rpartition(".")[0] for name in files} - used
    for entry in sorted(stale):
        storage.delete(f"{VALIDATED}/{entry}.json")  # first: without it nobody reads the table
        storage.delete(f"{VALIDATED}/{entry}.parquet")
    return len(stale)
