"""The stage `ingest`: events and feedback are checked and written in our schema; bad rows go to quarantine."""

import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial

import pyarrow as pa

from recsys.data.config import EventsInput
from recsys.data.events.event_checks import row_rules
from recsys.data.events.event_kinds import EventKinds
from recsys.data.events.interactions import interactions_schema
from recsys.data.files.optional_columns import check_lacking, merge_lacking
from recsys.data.files.read_tasks import ReadTask
from recsys.data.formats.input_format import FileInfo
from recsys.data.times.date_evidence import DateEvidence, DateReading, merged_evidence
from recsys.errors import InputError
from recsys.pipeline.input_records import IngestedEvents, ReadRows
from recsys.pipeline.inputs.ingest_feedback import ingest_feedback
from recsys.pipeline.inputs.input_counts import count_rows, refuse_bad_input, refuse_lost_events
from recsys.pipeline.inputs.input_parts import Quarantine, event_rules, labels_of, plan_parts
from recsys.pipeline.inputs.read_events import CellsMissingError, EventFiles, PartOfEvents
from recsys.pipeline.inputs.settled_dates import read_with_settled_dates
from recsys.pipeline.inputs.stop_early import StopRule, read_or_refuse
from recsys.pipeline.inputs.validated_files import Ledger, settings_of_rows
from recsys.pipeline.inputs.validated_uses import note_use
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import INGEST_CATALOG
from recsys.pipeline.start_run import listed_files
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.storage.tables import write_table

logger = logging.getLogger(__name__)

#: A warning names the date of the newest event when it is more than so many days older than the night's date.
STALE_DAYS = 2


def ingest_events(run: Run) -> IngestedEvents:
    """Write every event up to the night's date, or put it into quarantine with a reason.

    Later events are only counted: they wait for their own night. Where there is no event at all, the lists are made of
    texts.

    Raises:
        InputError: no event of those that there are can be used, too many rows of the files are bad, or dates have two
            readings; or there are neither events nor texts; or the files are empty and those of the published night
            were not.
    """
    source = run.config.inputs.events
    now = dt.datetime.now(dt.UTC)
    parts = [] if source is None else _read_files(run, source, now)
    counts = count_rows(parts)
    if counts.rows:
        oldest_later = min((part["oldest_later"] for part in parts if part["oldest_later"]), default="")
        refuse_bad_input(run, counts, sum(part["accepted"] for part in parts), "events", oldest_later)
    elif source is not None:
        refuse_lost_events(run.storage, source)
    num_feedback = num_repeats = 0
    feedback = ingest_feedback(run, now)
    if feedback is not None:
        # Anybody may send feedback: however much of it is bad, it must not stop the night.
        of_feedback = count_rows(feedback.parts)
        counts = replace(
            count_rows([*parts, *feedback.parts]),
            forgiven=of_feedback.quarantined,
            feedback_rows=of_feedback.rows - of_feedback.filtered,
        )
        if of_feedback.quarantined > feedback.num_torn:
            _warn_of_bad_feedback(run, of_feedback)
        parts += feedback.parts + feedback.buckets
        num_feedback, num_repeats = feedback.num_accepted, feedback.num_repeats
    accepted = sum(part.get("accepted", 0) for part in parts)
    newest = max((part.get("newest", "") for part in parts), default="")
    kinds = EventKinds.sum(part["kinds"] for part in parts if "kinds" in part)
    if accepted:
        _warn_of_stale_events(run, newest)
        if accepted > num_feedback:  # else only feedback says so, which anybody may send
            kinds.refuse_only_negative()
        has_kinds = run.config.inputs.event_settings.columns.event is not None
        for warning in kinds.warnings(run.config.inputs.event_weights, has_kinds):
            logger.warning(warning)
    else:
        _say_no_events(run)
    return IngestedEvents(
        **vars(counts) | {"peak_memory_mb": peak_of(parts)},
        accepted=accepted,
        newest=newest,
        kinds=kinds.learned,
        non_positive=kinds.non_positive,
        impressions=kinds.impressions.total(),
        weightless=kinds.weightless,
        parts=[part["path"] for part in parts if part.get("accepted")],
        feedback=num_feedback,
        feedback_repeats=num_repeats,
    )


def _read_files(run: Run, source: EventsInput, now: dt.datetime) -> list[Record]:
    """Records of the parts of the files."""
    files = listed_files(run, "events")
    tasks = plan_parts(source, files)

    def read_parts(reading: DateReading) -> list[Record]:
        events = _known_files(run, source, tasks, files, reading)

        def read(rule: StopRule, until: Callable[[Record], bool]) -> list[Record]:
            build = partial(_event_reader, run, events, now, reading, rule)
            return for_each_part(list(tasks), build, label="ingest", names=labels_of(tasks), until=until)

        return read_or_refuse(run, "events", source, files, len(tasks), read)

    parts = read_with_settled_dates(run, "events", source.columns.timestamp, read_parts)
    check_lacking([part["lacking"] for part in parts], source)
    return parts


def _known_files(
    run: Run, source: EventsInput, tasks: dict[str, ReadTask], files: Sequence[FileInfo], reading: DateReading
) -> EventFiles:
    """The files with what the ledger has of them. It notes first that the night uses these entries."""
    settings = settings_of_rows(source, row_rules(run.config.inputs, reading))
    ledger = None if settings is None else Ledger(run.storage, settings)
    by_path = {file.path: file for file in files}
    events = EventFiles(source=source, tasks=tasks, files=by_path, ledger=ledger, stored=frozenset())
    if ledger is None:
        return events
    names = events.names()
    note_use(run.storage, run.folder.run_id, ledger, names)
    stored = ledger.entries() & set(names)
    if stored:
        logger.info("ingest: %d of %d files of events were validated before", len(stored), len(names))
    return replace(events, stored=stored)


def _say_no_events(run: Run) -> None:
    catalog = run.record(INGEST_CATALOG)
    if not catalog.texts:
        raise InputError(
            "inputs: there are neither events nor texts of items, so nothing makes one item better than another; name "
            "files with rows in inputs.events, or columns with words in inputs.items.text"
        )
    known = "users of inputs.users get lists by their texts" if run.config.inputs.users else "no user has a list"
    logger.warning("ingest: there is no event: %s, and the live service answers by the texts of the items", known)


def _event_reader(
    run: Run, events: EventFiles, now: dt.datetime, reading: DateReading, rule: StopRule
) -> Callable[[str], Record]:
    rules = event_rules(run, now, reading)

    def read(part: str) -> Record:
        again: set[str] = set()
        while True:
            try:
                return _read_part(run, part, PartOfEvents(events, part, rules, again), rule)
            except CellsMissingError as missing:
                logger.debug("ingest: %s is read again: a row of it is bad tonight for the first time", missing.file)
                again.add(missing.file)

    return read


def _read_part(run: Run, part: str, rows: PartOfEvents, rule: StopRule) -> Record:
    """Write the events of a part, and put its bad rows into quarantine."""
    quarantine = Quarantine(run.storage, run.folder.quarantine_dir, f"events-{part}")
    counts: Counter[str] = Counter()
    kinds: list[EventKinds] = []
    times: dict[str, list[str]] = {"newest": [], "oldest_later": []}
    dates: list[DateEvidence] = []

    def accepted() -> Iterator[pa.Table]:
        for found in rule.limit(rows.pieces(), quarantine, lambda: counts["rows"] - counts["filtered"], dates):
            taken = found.taken
            counts.update(rows=found.rows, filtered=found.filtered, later=taken.num_later)
            quarantine.add(taken.quarantined)
            dates.append(found.dates)
            kinds.append(EventKinds.count(taken.accepted))
            for name, at in (("newest", taken.newest), ("oldest_later", taken.oldest_later)):
                times[name].extend([at.isoformat()] if at else [])
            yield taken.accepted

    path = f"{run.folder.dir}/events/part-{part}.parquet"
    stats = write_table(run.storage, path, accepted(), interactions_schema(run.config.inputs.event_settings))
    return {
        "rows": counts["rows"],
        "filtered": counts["filtered"],
        "later": counts["later"],
        "accepted": stats.rows,
        "kinds": EventKinds.sum(kinds).as_json(),
        "newest": max(times["newest"], default=""),
        "oldest_later": min(times["oldest_later"], default=""),
        "dates": asdict(merged_evidence(dates)),
        "quarantined": quarantine.close(),
        "lacking": merge_lacking(rows.lacking),
        "path": path,
    }


def _warn_of_bad_feedback(run: Run, counts: ReadRows) -> None:
    logger.warning(
        "feedback: %d of %d rows cannot be used and are left out (%s); they are in %s",
        *(counts.quarantined, counts.rows - counts.filtered),
        ", ".join(f"{reason} {num:,}" for reason, num in counts.reasons.items()),
        run.storage.url(run.folder.quarantine_dir),
    )


def _warn_of_stale_events(run: Run, newest: str) -> None:
    age = run.end - dt.datetime.fromisoformat(newest)
    if age > dt.timedelta(days=STALE_DAYS + 1):
        logger.warning(
            "the newest event is of %s, %d days before the night's date %s, from which ages are counted; if no newer "
            "events will come, take the day of the newest one by --date newest, or by `date: newest` in the config",
            *(newest, age.days, run.date),
        )
