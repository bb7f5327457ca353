"""The ledger of validated files: what the rows of an event file say by themselves is kept for later nights.

An entry holds the checked rows of one file, or of one part of a large file, as CHECKED_EVENTS, and a record with its
counts. Its name is a digest of the file's path, size and version (its ETag, or its time of change); its folder is a
digest of the settings and of the code that read it. What depends on the night's date, the catalog or the clock is
decided when a night takes an entry, so that a night says the same with and without the ledger.

Entries lie in ``validated/<settings>/``: ``<file>.parquet``, then ``<file>.json``. ``validated/nights/`` says which
nights used which entries, for the deletion of those that none uses any more (`recsys.pipeline.inputs.validated_uses`).
"""

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict

import recsys.data
from recsys import __version__
from recsys.config.strict_json import STRICT, as_json, from_json
from recsys.data.config import EventsInput
from recsys.data.events.event_checks import CHECKED_EVENTS, RowRules
from recsys.data.files.read_ahead import fetch_ahead
from recsys.data.formats.input_format import FileInfo, Span
from recsys.data.formats.registry import FORMATS
from recsys.errors import NewerFormatError
from recsys.storage.filesystem import Storage
from recsys.storage.record_kinds import VALIDATED_FILE
from recsys.storage.tables import TableWriter, new_table

logger = logging.getLogger(__name__)

#: Folder of the ledger below the storage.
VALIDATED = "validated"
_ROWS_PER_BATCH = 65_536
#: Entries that are fetched from an object store at a time: a small one is mostly waiting for answers.
_NUM_REQUESTS = 8


@dataclass(frozen=True, kw_only=True)
class ValidatedFile:
    """The record of an entry; it is written last."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rows: int
    """Rows of the file, also malformed lines and those that `where` left out."""
    filtered: int
    """Rows that `where` left out."""
    lacking: dict[str, Any]
    """See `recsys.data.files.optional_columns.LackingColumns.close`."""
    dates: dict[str, str]
    """`DateEvidence` of the file."""
    sha256: str
    """Of the table."""


@dataclass(frozen=True)
class StoredEntry:
    """An entry whose table is whole."""

    record: ValidatedFile
    batches: Iterator[pa.Table]
    """CHECKED_EVENTS in the order of the file."""


def settings_of_rows(source: EventsInput, rules: RowRules) -> str | None:
    """Digest of everything that the checked rows of a file depend on, apart from the file.

    None: a plugin reads the format. It may change without a sign, so that nothing is kept.
    """
    if not type(FORMATS[source.format]).__module__.startswith("recsys."):
        return None
    own = {field.name: getattr(rules, field.name) for field in dataclasses.fields(RowRules)}
    settings = {
        "source": source.model_dump(mode="json", exclude={"path"}),
        "rules": own | {"earliest": rules.earliest.isoformat(), "reading": dataclasses.asdict(rules.reading)},
        "code": [__version__, _code_digest(), pa.__version__, pd.__version__],
    }
    return _digest(settings)


def entry_name(file: FileInfo, span: Span | None) -> str:
    """Name of the entry of a file, or of a part of it."""
    return _digest([file.path, file.size, file.version, span])


@dataclass(frozen=True, slots=True)
class Ledger:
    """The entries of some settings."""

    storage: Storage
    settings: str

    def entries(self) -> frozenset[str]:
        """Names of the finished entries."""
        found = self.storage.list(self.folder)
        return frozenset(name.removesuffix(".json") for name in found if name.endswith(".json"))

    @property
    def folder(self) -> str:
        """Below the storage."""
        return f"{VALIDATED}/{self.settings}"

    @property
    def is_near(self) -> bool:
        """Whether entries are read without waiting for answers of a network."""
        return self.storage.is_local

    def read(self, name: str) -> StoredEntry | None:
        """The entry of this name; None, and a warning, if it is damaged or gone: the file itself must be read."""
        path = f"{self.folder}/{name}"
        try:
            stored = VALIDATED_FILE.current(self.storage.read_json(f"{path}.json"), self.storage.url(f"{path}.json"))
            record = from_json(ValidatedFile, stored)
            table = self.storage.read_bytes(f"{path}.parquet")
        except (FileNotFoundError, ValueError, NewerFormatError) as error:
            logger.warning("%s cannot be used, so its file is read again (%s)", self.storage.url(path), error)
            return None
        if hashlib.sha256(table).hexdigest() != record.sha256:
            logger.warning("%s.parquet is damaged, so its file is read again", self.storage.url(path))
            return None
        file = pq.ParquetFile(pa.BufferReader(table))
        batches = (pa.Table.from_batches([batch]) for batch in file.iter_batches(_ROWS_PER_BATCH))
        return StoredEntry(record, batches)

    def read_in_order(self, names: Iterable[str]) -> Generator[StoredEntry | None]:
        """The entries of these names; an object store is asked for several at a time."""
        if self.is_near:
            yield from map(self.read, names)
            return
        fetched = fetch_ahead(self.read, names, num_requests=_NUM_REQUESTS, most=_NUM_REQUESTS, name="ledger")
        with closing(fetched):
            for entry in fetched:
                yield entry.result()

    @contextmanager
    def new_entry(self, name: str) -> Iterator["NewEntry"]:
        """Fill an entry in the block; nothing appears if the block raises."""
        entry = NewEntry()
        with new_table(self.storage, f"{self.folder}/{name}.parquet", CHECKED_EVENTS) as (writer, file):
            entry.writer = writer
            yield entry
        assert entry.record is not None, "the entry has no record"
        record = dataclasses.replace(entry.record, sha256=file.sha256)
        self.storage.write_json(f"{self.folder}/{name}.json", VALIDATED_FILE.stamp(as_json(record)))


class NewEntry:
    """An entry that is being written: add its rows to `writer`, then set `record`."""

    writer: TableWriter
    record: ValidatedFile | None = None


@functools.cache
def _code_digest() -> str:
    """Digest of the code that reads rows: a change of any rule makes new entries."""
    folder = Path(recsys.data.__file__).parent
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        whole.update(file.read_bytes())
    return whole.hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]
