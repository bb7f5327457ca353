"""The rows of one part of the events: from the ledger where their file did not change, else from the file itself."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import rows_as_json
from recsys.data.config import EventsInput
from recsys.data.events.event_checks import CHECKED_EVENTS, FaultPlace, check_events, malformed_lines
from recsys.data.events.interactions import EventRules, TakenEvents, take_events
from recsys.data.files.optional_columns import LackingColumns
from recsys.data.files.read_ahead import Opener, read_ahead
from recsys.data.files.read_tasks import ReadTask
from recsys.data.formats.input_format import FileInfo
from recsys.data.times.date_evidence import DateEvidence, merged_evidence
from recsys.pipeline.inputs.input_parts import read_file
from recsys.pipeline.inputs.validated_files import Ledger, StoredEntry, ValidatedFile, entry_name
from recsys.storage.addresses import open_input


class CellsMissingError(Exception):
    """A stored row is bad tonight, and the ledger does not have it as its file has it: the file must be read again."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file


@dataclass(frozen=True, kw_only=True)
class FoundEvents:
    """What a night makes of some rows of a file."""

    taken: TakenEvents
    rows: int
    """Rows of the file, also those that `where` left out."""
    filtered: int
    """Rows that `where` left out."""
    dates: DateEvidence


@dataclass(frozen=True, kw_only=True)
class EventFiles:
    """The files of the events, and what the ledger has of them."""

    source: EventsInput
    tasks: dict[str, ReadTask]
    """What each part reads."""
    files: dict[str, FileInfo]
    """By path."""
    ledger: Ledger | None
    """None: nothing is kept."""
    stored: frozenset[str]
    """The entries of the ledger that the night may use."""

    def names(self) -> list[str]:
        """Entries of all files; none without a ledger."""
        if self.ledger is None:
            return []
        return [entry_name(self.files[file], task.span) for task in self.tasks.values() for file in task.files]


class PartOfEvents:
    """One reading of a part."""

    def __init__(self, events: EventFiles, part: str, rules: EventRules, again: Collection[str]) -> None:
        """``again``: files that are read whatever the ledger has."""
        self._events, self._source, self._rules = events, events.source, rules
        self._task, self._again = events.tasks[part], again
        self.lacking: list[dict[str, Any]] = []
        """See `LackingColumns.close`, for each file."""

    def pieces(self) -> Iterator[FoundEvents]:
        """What the night makes of the rows, in their order.

        Raises:
            CellsMissingError: a file must be read again.
        """
        fs, _ = open_input(self._source.path)
        names = {file: entry_name(self._events.files[file], self._task.span) for file in self._task.files}
        stored = {file for file, name in names.items() if name in self._events.stored and file not in self._again}
        to_read = replace(self._task, files=tuple(file for file in self._task.files if file not in stored))
        with ExitStack() as stack:
            openers = stack.enter_context(read_ahead(fs, to_read))
            entries: Iterator[StoredEntry | None] = iter(())
            if self._events.ledger is not None:
                found = self._events.ledger.read_in_order([names[file] for file in names if file in stored])
                entries = stack.enter_context(closing(found))
            for file, name in names.items():
                entry = next(entries) if file in stored else None
                if entry is None:
                    yield from self._new(file, name, openers.get(file))
                else:
                    yield from self._stored(file, entry)

    def _stored(self, file: str, stored: StoredEntry) -> Iterator[FoundEvents]:
        record = stored.record
        self.lacking.append(record.lacking)
        rows, dates = record.filtered, DateEvidence(**record.dates)
        first = next(stored.batches, CHECKED_EVENTS.empty_table())  # it brings the counts of the file
        for batch in chain([first], stored.batches):
            taken = take_events(batch, file, self._source, self._rules, partial(_stored_cells, file, batch))
            yield FoundEvents(taken=taken, rows=len(batch) + rows, filtered=rows, dates=dates)
            rows = 0

    def _new(self, file: str, name: str, opener: Opener | None) -> Iterator[FoundEvents]:
        lacking, dates = LackingColumns(self._source), [DateEvidence()]
        rows = filtered = 0
        with ExitStack() as stack:
            ledger = self._events.ledger
            entry = None if ledger is None else stack.enter_context(ledger.new_entry(name))
            stack.callback(lambda: self.lacking.append(lacking.close()))  # also where reading ends early
            for _, table, malformed in read_file(self._source, self._task, file, lacking, opener):
                found, checked = self._check(file, table, malformed)
                if entry is not None:
                    entry.writer.add(checked)
                rows, filtered = rows + found.rows, filtered + found.filtered
                dates.append(found.dates)
                yield found
            if entry is not None:
                evidence = asdict(merged_evidence(dates))
                entry.record = ValidatedFile(
                    rows=rows, filtered=filtered, lacking=lacking.close(), dates=evidence, sha256=""
                )

    def _check(self, file: str, table: pa.Table, malformed: pa.Table) -> tuple[FoundEvents, pa.Table]:
        """What the night makes of some rows and lines, and CHECKED_EVENTS of them."""
        checked = check_events(table, file, self._source, self._rules)
        rows = pa.concat_tables([malformed_lines(malformed), checked.rows])

        def cells(bad: pa.Array) -> list[str]:
            lines: list[str] = malformed["row"].filter(bad.slice(0, len(malformed))).to_pylist()
            return lines + rows_as_json(checked.cells.filter(bad.slice(len(malformed))))

        taken = take_events(rows, file, self._source, self._rules, cells)
        # a row that is bad by itself is stored as the file has it, also where its date is yet to come
        waiting = ~taken.bad & (np.asarray(rows["place"]) < FaultPlace.NONE)
        stored = pa.nulls(len(rows), pa.string())
        for mask, texts in ((taken.bad, taken.quarantined["row"].to_pylist()), (waiting, cells(pa.array(waiting)))):
            stored = pc.replace_with_mask(stored, pa.array(mask), pa.array(texts, pa.string()))
        found = FoundEvents(
            taken=taken,
            rows=len(table) + len(malformed),
            filtered=checked.num_filtered,
            dates=checked.dates,
        )
        return found, rows.set_column(rows.schema.get_field_index("row"), CHECKED_EVENTS.field("row"), stored)


def _stored_cells(file: str, checked: pa.Table, bad: pa.Array) -> list[str]:
    cells = checked["row"].filter(bad)
    if cells.null_count:
        raise CellsMissingError(file)
    return list(cells.to_pylist())
