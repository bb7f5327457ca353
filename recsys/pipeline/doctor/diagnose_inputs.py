"""What a night would do with the first rows of its inputs: the checks are those of the ingest stages."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.catalog import build_catalog, item_version_spec
from recsys.data.checks.quarantine import Reason
from recsys.data.config import TableInput
from recsys.data.events.interactions import normalise_events
from recsys.data.files.optional_columns import LackingColumns, check_lacking
from recsys.data.formats.input_format import Chunk, FileInfo
from recsys.data.profile_table import user_version_spec
from recsys.data.times.date_evidence import FIRST_READING, DateEvidence, DateReading, merged_evidence, second_reading
from recsys.data.versions import VersionSpec, holds_history, merge_versions, read_versions, version_times
from recsys.errors import InputError
from recsys.pipeline.doctor.diagnosis import Diagnosis, diagnose
from recsys.pipeline.input_records import ReadRows
from recsys.pipeline.inputs.explain_bad_rows import explain_bad_rows
from recsys.pipeline.inputs.input_counts import count_rows, refuse_lost_events
from recsys.pipeline.inputs.input_list import list_input
from recsys.pipeline.inputs.input_parts import Quarantine, event_rules, plan_parts, read_part
from recsys.pipeline.run import Record, Run
from recsys.schema import CATALOG
from recsys.settings import Config
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table

#: Rows of each input whose faults are told.
FIRST_ROWS = 1000
#: Rows of the items whose ids are known to the check of the events.
MOST_ITEM_ROWS = 200_000


def diagnose_inputs(config: Config, date: dt.date) -> list[Diagnosis]:
    """The checks of the inputs, for the night of this date. Nothing is written to the storage."""
    with TemporaryDirectory() as folder:
        scratch = config.model_copy(update={"storage": folder, "date": date})
        run = Run(config=scratch, date=date, folder=RunFolder(Storage(folder), f"{date}-doctor"))
        inputs = _Inputs(run, Storage(config.storage))
        checks = [diagnose("items", inputs.items)]
        if config.inputs.users is not None:
            checks.append(diagnose("users", inputs.users))
        if config.inputs.events is not None:
            checks.append(diagnose("events", inputs.events))
        return checks


#: (file, rows, malformed lines)
_Chunk = tuple[str, pa.Table, pa.Table]


@dataclass(frozen=True, kw_only=True)
class _FirstRows:
    """The first rows of an input."""

    source: TableInput
    chunks: list[_Chunk]
    lacking: Record
    """See `LackingColumns.close`."""
    is_all: bool
    """Whether the input has no more rows."""

    @classmethod
    def of(cls, source: TableInput, most: int) -> "_FirstRows":
        """Read so many rows.

        Raises:
            InputError: a file cannot be read, or lacks a column that the newest file lacks too.
        """
        lacking, files = LackingColumns(source), list_input(source)
        chunks, is_all = _read_chunks(source, files, lacking, most)
        check_lacking([lacking.close(), *([] if is_all else [_lacking_in(source, files[-1])])], source)
        return cls(source=source, chunks=chunks, lacking=lacking.close(), is_all=is_all)

    def head(self, most: int) -> list[_Chunk]:
        """Chunks of the first of these rows."""
        found: list[_Chunk] = []
        for file, table, malformed in self.chunks:
            if most > 0:
                found.append(_first_of((file, table, malformed), most))
            most -= len(table)
        return found


def _read_chunks(
    source: TableInput, files: Sequence[FileInfo], lacking: LackingColumns, most: int
) -> tuple[list[_Chunk], bool]:
    """The first rows of the files, and whether these are all."""
    chunks: list[_Chunk] = []
    for task in plan_parts(source, files).values():
        for file, table, malformed in read_part(source, task, lacking):
            if len(table) > most:
                return [*chunks, _first_of((file, table, malformed), most)], False
            chunks.append((file, table, malformed))
            most -= len(table)
    return chunks, True


def _lacking_in(source: TableInput, file: FileInfo) -> Record:
    """What the first rows of a file lack. Of the last file, since older ones may lack columns; see `LackingColumns`."""
    lacking = LackingColumns(source)
    task = next(iter(plan_parts(source, [file]).values()))
    next(read_part(source, task, lacking), None)
    return lacking.close()


def _first_of(chunk: _Chunk, most: int) -> _Chunk:
    """The first rows of a chunk, and with them a share of its malformed lines."""
    file, table, malformed = chunk
    first = Chunk(table=table, malformed=malformed).part(0, min(most, len(table)))
    return file, first.table, first.malformed


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """What became of the rows of a chunk."""

    rows: int
    filtered: int
    later: int
    """From after the night's date, so that it does not read them."""
    quarantined: pa.Table
    dates: DateEvidence
    as_now: int = 0
    """From after the night's date, but read as they are now, see `known_by`."""


#: Checks the rows of a file, with a reading of its dates.
_Check = Callable[[pa.Table, str, DateReading], _Checked]


class _Inputs:
    """The inputs of one config. The events are checked last, since they need the ids of the items."""

    def __init__(self, run: Run, published: Storage) -> None:
        self._run, self._published = run, published
        self._not_all_known = "these cannot be read"
        """Why an item of the events may be missing in the catalog of the doctor; empty: all usable items are in it."""

    def items(self) -> Diagnosis:
        """Check the first items; keep the ids of many, and with them a catalog."""
        spec = self._run.config.inputs.items
        how, first = self._with_missing(item_version_spec(spec)), _FirstRows.of(spec, MOST_ITEM_ROWS)
        versions = [read_versions(table, file, how, self._longest_id, 0).versions for file, table, _ in first.chunks]
        catalog = build_catalog(merge_versions(versions), spec)
        write_table(self._run.storage, self._run.catalog_path, catalog, CATALOG)
        judged = self._judge("items", first, how.timestamp, self._version_check(how))
        too_many = "" if first.is_all else f"there are over {MOST_ITEM_ROWS:,} items"
        self._not_all_known = too_many if judged.ok else "mend the items first"
        return judged

    def users(self) -> Diagnosis:
        """Check the first users."""
        spec = self._run.config.inputs.users
        assert spec is not None, "asked only where the config has users"
        how = self._with_missing(user_version_spec(spec))
        return self._judge("users", _FirstRows.of(spec, FIRST_ROWS), how.timestamp, self._version_check(how))

    def events(self) -> Diagnosis:
        """Check the first events."""
        run, source = self._run, self._run.config.inputs.events
        assert source is not None, "asked only where the config has events"
        first = _FirstRows.of(source, FIRST_ROWS)
        if first.is_all and not any(len(table) + len(malformed) for _, table, malformed in first.chunks):
            refuse_lost_events(self._published, source)
            found = f"{source.path} has no rows yet: lists are made of texts until there are events"
            return Diagnosis(check="events", ok=True, found=found)
        if not run.storage.exists(run.catalog_path):
            raise InputError("the events need items, and these cannot be read: see the line of the items")
        rules = event_rules(run, dt.datetime.now(dt.UTC))

        def check(table: pa.Table, file: str, reading: DateReading) -> _Checked:
            found = normalise_events(table, file, source, replace(rules, reading=reading))
            bad = found.quarantined
            if self._not_all_known:  # the item may be in a row that was not read, or not be usable
                bad = bad.filter(pc.not_equal(bad["reason"], Reason.UNKNOWN_ITEM.value))
            return _Checked(
                rows=found.num_read,
                filtered=found.num_filtered,
                later=found.num_later,
                quarantined=bad,
                dates=found.dates,
            )

        note = f"; item ids were not checked: {self._not_all_known}" if self._not_all_known else ""
        judged = self._judge("events", first, source.columns.timestamp, check)
        counts, newline, bad_rows = judged.found.partition("\n")
        return replace(judged, found=f"{counts}{note}{newline}{bad_rows}")

    @property
    def _longest_id(self) -> int:
        return self._run.config.inputs.max_id_chars

    def _with_missing(self, how: VersionSpec) -> VersionSpec:
        return replace(how, missing_values=self._run.config.inputs.missing_values)

    def _version_check(self, how: VersionSpec) -> _Check:
        def check(table: pa.Table, file: str, reading: DateReading) -> _Checked:
            found = read_versions(table, file, replace(how, reading=reading), self._longest_id, 0, self._run.end)
            is_history = holds_history([version_times(found.versions), version_times(found.later)])
            return _Checked(
                rows=found.num_read,
                filtered=found.num_filtered,
                later=len(found.later) if is_history else 0,
                quarantined=found.quarantined,
                dates=found.dates,
                as_now=0 if is_history else len(found.later),
            )

        return check

    def _judge(self, name: str, first: _FirstRows, timestamp: str | None, check: _Check) -> Diagnosis:
        """Check the first rows; if their dates prove another reading than the first, check them again."""
        chunks, note = first.head(FIRST_ROWS), ""
        checked = [check(table, file, FIRST_READING) for file, table, _ in chunks]
        evidence = merged_evidence(each.dates for each in checked)
        try:
            reading = second_reading(evidence, f"inputs.{name}", timestamp)
        except InputError as error:
            note = f"\n  The night reads all rows, which may settle this: {error}"
        else:
            if reading is not None:
                checked = [check(table, file, reading) for file, table, _ in chunks]
        counts = self._counts(name, chunks, checked, first.lacking)
        return _outcome(self._run, name, first, counts, note, sum(each.as_now for each in checked))

    def _counts(self, name: str, chunks: Sequence[_Chunk], checked: Sequence[_Checked], lacking: Record) -> ReadRows:
        quarantine = Quarantine(self._run.storage, self._run.folder.quarantine_dir, name)
        for (_, _, malformed), each in zip(chunks, checked, strict=True):
            quarantine.add(malformed)
            quarantine.add(each.quarantined)
        part = {
            "rows": sum(each.rows for each in checked) + sum(len(malformed) for _, _, malformed in chunks),
            "filtered": sum(each.filtered for each in checked),
            "later": sum(each.later for each in checked),
            "quarantined": quarantine.close(),
            "lacking": lacking,
            "peak_memory_mb": 0.0,
        }
        return count_rows([part])


def _outcome(run: Run, name: str, first: _FirstRows, counts: ReadRows, note: str, as_now: int) -> Diagnosis:
    usable = counts.rows - counts.filtered - counts.later - counts.quarantined
    limit = run.config.inputs.max_quarantine_rate
    can_be_used = f"usable ({as_now:,} of them from after {run.date}, read as they are now)" if as_now else "usable"
    words = {
        can_be_used: usable,
        "left out by `where`": counts.filtered,
        f"after the night's date {run.date}": counts.later,
        "would be quarantined": counts.quarantined,
    }
    said = ", ".join(f"{number:,} {what}" for what, number in words.items() if number or what == can_be_used)
    rows = f"the first {counts.rows:,} rows" if counts.rows >= FIRST_ROWS else f"all {counts.rows:,} rows"
    found = f"{rows} of {first.source.path}: {said}"
    bad = explain_bad_rows(run, counts, name) if counts.quarantined else ""
    if counts.bad_rate > limit:
        way_out = f"mend the input or narrow `where`: above inputs.max_quarantine_rate={limit:.1%} the night is refused"
        return Diagnosis(check=name, ok=False, found=f"{found}{bad}{note}", way_out=way_out)
    if not usable and not counts.filtered:
        way_out = (
            "give a later --date, or --date newest" if counts.later else f"name files with rows in inputs.{name}.path"
        )
        return Diagnosis(check=name, ok=False, found=f"{found}{bad}{note}", way_out=way_out)
    return Diagnosis(check=name, ok=True, found=f"{found}{bad}{note}")
