"""The parts of an input: which files each part reads, its rows, the rules for events, and the quarantine."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from recsys.config.strict_json import as_json
from recsys.data.checks.bad_values import BadValues
from recsys.data.config import TableInput
from recsys.data.events.event_checks import row_rules
from recsys.data.events.interactions import EventRules
from recsys.data.files.optional_columns import LackingColumns
from recsys.data.files.read_ahead import Opener, read_ahead
from recsys.data.files.read_tasks import ReadTask, plan_reads
from recsys.data.files.readers import read_chunks
from recsys.data.formats.input_format import FileInfo
from recsys.data.times.date_evidence import FIRST_READING, DateReading
from recsys.data.values.columns import require_no_lists
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stored.item_ids import read_item_ids
from recsys.schema import QUARANTINE
from recsys.storage.addresses import open_input
from recsys.storage.failures import explained
from recsys.storage.filesystem import Storage
from recsys.storage.tables import write_table

#: Bad rows are written in files of about so many rows: a very bad input must not fill the memory.
QUARANTINE_ROWS = 50_000
#: No part has more rows. The order of a row is the number of its part times this, plus its place in the part.
ROWS_PER_PART = 1 << 40


def plan_parts(source: TableInput, files: Sequence[FileInfo]) -> dict[str, ReadTask]:
    """What each part of an input reads, by the part's name."""
    fs, _ = open_input(source.path)
    return {f"{task.index:05d}": task for task in plan_reads(fs, files, source.format)}


def labels_of(tasks: Mapping[str, ReadTask]) -> dict[str, str]:
    """What each part reads, for people."""
    return {part: task.label for part, task in tasks.items()}


def read_part(
    source: TableInput, task: ReadTask, lacking: LackingColumns | None = None
) -> Iterator[tuple[str, pa.Table, pa.Table]]:
    """(file, rows, malformed lines) of each chunk that a part reads; `lacking` fills columns that a file lacks."""
    fs, _ = open_input(source.path)
    with read_ahead(fs, task) as openers:
        for file in task.files:
            yield from read_file(source, task, file, lacking, openers.get(file))


def read_file(
    source: TableInput, task: ReadTask, file: str, lacking: LackingColumns | None, opener: Opener | None
) -> Iterator[tuple[str, pa.Table, pa.Table]]:
    """The same of one file of the part; ``opener`` is that of `read_ahead`, if it fetches the file."""
    fs, _ = open_input(source.path)
    ids = source.columns.model_dump(include={"user_id", "item_id"}).values()
    chunks = read_chunks(fs, file, source, task.span, task.pieces.get(file, ()), opener)
    while True:
        with explained(file):
            chunk = next(chunks, None)
        if chunk is None:
            break
        table = chunk.table
        if lacking is not None:  # feedback is not refused: anybody may send it
            table = lacking.fill(table, file)
            require_no_lists(table, ids, file)
        yield file, table, chunk.malformed


def event_rules(run: Run, now: dt.datetime, reading: DateReading = FIRST_READING) -> EventRules:
    """What a valid event is; reads the catalog of the run, since an event needs a known item."""
    items = read_item_ids(run)
    return EventRules(**vars(row_rules(run.config.inputs, reading)), known_items=items, end=run.end, now=now)


class Quarantine:
    """The bad rows of one part of an input, in files of bounded size. A retry of the part overwrites them."""

    def __init__(self, storage: Storage, folder: str, name: str) -> None:
        self._storage = storage
        self._path = f"{folder}/{name}"
        self._waiting: list[pa.Table] = []
        self._files = 0
        self.reasons: Counter[str] = Counter()
        """Rows that were added, by reason."""
        self._values = BadValues()
        self.stopped = False
        """Whether reading ended early, because of too many bad rows."""

    def add(self, rows: pa.Table) -> None:
        """Add rows of QUARANTINE."""
        if len(rows):
            self._waiting.append(rows)
            self.reasons.update(rows["reason"].to_pylist())
            self._values.add(rows)
            while sum(len(table) for table in self._waiting) >= QUARANTINE_ROWS:
                self._flush()

    def close(self) -> Record:
        """Write the rows that wait; returns for `count_rows`: `reasons` (with their rows), `examples` and `stopped`."""
        if self._waiting:
            self._flush()
        examples = [as_json(bad) for bad in self._values.commonest()]
        return {"reasons": dict(self.reasons), "examples": examples, "stopped": self.stopped}

    def _flush(self) -> None:
        rows = pa.concat_tables(self._waiting)  # cut by rows: files do not depend on how the rows came
        path = f"{self._path}-{self._files:03d}.parquet"
        write_table(self._storage, path, rows.slice(0, QUARANTINE_ROWS), QUARANTINE)
        self._files += 1
        rest = rows.slice(QUARANTINE_ROWS)
        self._waiting = [rest] if len(rest) else []
