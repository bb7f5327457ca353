"""Reading an input that describes items or users: all versions of each, over the workers; the newest values win."""

import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.files.optional_columns import LackingColumns, check_lacking
from recsys.data.files.read_tasks import ReadTask
from recsys.data.times.date_evidence import DateEvidence, DateReading, merged_evidence
from recsys.data.versions import (
    VersionSpec,
    holds_history,
    known_by,
    merge_versions,
    read_versions,
    version_times,
    versions_schema,
)
from recsys.pipeline.input_records import ReadRows
from recsys.pipeline.inputs.input_counts import count_rows, refuse_bad_input
from recsys.pipeline.inputs.input_parts import ROWS_PER_PART, Quarantine, labels_of, plan_parts, read_part
from recsys.pipeline.inputs.settled_dates import read_with_settled_dates
from recsys.pipeline.inputs.stop_early import StopRule, read_or_refuse
from recsys.pipeline.run import Record, Run
from recsys.pipeline.start_run import listed_files
from recsys.pipeline.workers.cluster import for_each_part
from recsys.storage.tables import read_table, write_table

logger = logging.getLogger(__name__)


def read_described(run: Run, spec: VersionSpec, name: Literal["items", "users"]) -> tuple[pa.Table, ReadRows]:
    """The merged versions of all that an input describes, see `merge_versions`, and the counts of its rows.

    Args:
        run: The run.
        spec: The input, and how it is read.
        name: `items` or `users`.

    Raises:
        InputError: no row can be used, too many rows are bad, or dates have two readings.
    """
    files = listed_files(run, name)
    tasks = plan_parts(spec.source, files)

    def read_parts(reading: DateReading) -> list[Record]:
        how = replace(spec, reading=reading, missing_values=run.config.inputs.missing_values)

        def read(rule: StopRule, until: Callable[[Record], bool]) -> list[Record]:
            build = partial(_version_reader, run, how, tasks, name, rule)
            return for_each_part(list(tasks), build, label=name, names=labels_of(tasks), until=until)

        return read_or_refuse(run, name, spec.source, files, len(tasks), read)

    parts = read_with_settled_dates(run, name, spec.timestamp, read_parts)
    check_lacking([part["lacking"] for part in parts], spec.source)
    counts = count_rows(parts)
    (versions, times), (later, later_times) = (_merged(run, spec, parts, key) for key in ("path", "later_path"))
    if len(later):
        is_history = any(part["has_history"] for part in parts) or holds_history([*times, *later_times])
        num_known = len(versions)
        versions = known_by(versions, later, has_history=is_history)
        _say_later(run, name, counts.later, len(versions) - num_known, has_history=is_history)
    refuse_bad_input(run, counts, len(versions), name, _oldest(later))
    return versions, counts


def _merged(run: Run, spec: VersionSpec, parts: Sequence[Record], key: str) -> tuple[pa.Table, list[pa.Table]]:
    """The versions of all parts as one table, and `version_times` of each part."""
    tables = [versions_schema(spec).empty_table(), *(read_table(run.storage, part[key]) for part in parts if part[key])]
    return merge_versions(tables), [version_times(table) for table in tables]


def _oldest(versions: pa.Table) -> str:
    """Time of the oldest of the merged versions from after the night's date, ISO 8601; "" where there is none."""
    orders = [pc.min(versions[column]).as_py() for column in versions.column_names[2::2]]
    known = [order for order in orders if order is not None]
    return dt.datetime.fromtimestamp(min(known) / 1e6, dt.UTC).isoformat() if known else ""


def _say_later(run: Run, name: str, num_later: int, num_kept: int, *, has_history: bool) -> None:
    logger.log(
        logging.INFO if has_history else logging.WARNING,
        "%s: %d rows are from after %s. %s",
        *(name, num_later, run.date),
        "They are not read"
        if has_history
        else f"There is one version of each of the {name}: those of {num_kept} are read as they are now",
    )


def _version_reader(
    run: Run, spec: VersionSpec, tasks: dict[str, ReadTask], name: str, rule: StopRule
) -> Callable[[str], Record]:
    limit = run.config.inputs.max_id_chars

    def read(part: str) -> Record:
        quarantine = Quarantine(run.storage, run.folder.quarantine_dir, f"{name}-{part}")
        read_so_far: dict[str, list[pa.Table]] = {"path": [], "later_path": []}
        dates: list[DateEvidence] = []
        counts: Counter[str] = Counter()
        is_history = False
        order = tasks[part].index * ROWS_PER_PART
        lacking = LackingColumns(spec.source)
        chunks = rule.limit(
            read_part(spec.source, tasks[part], lacking), quarantine, lambda: counts["rows"] - counts["filtered"], dates
        )
        for source, table, malformed in chunks:
            found = read_versions(table, source, spec, limit, order, run.end)
            order += len(table)
            counts.update(rows=found.num_read + len(malformed), filtered=found.num_filtered, later=len(found.later))
            quarantine.add(malformed)
            quarantine.add(found.quarantined)
            dates.append(found.dates)
            if spec.timestamp is not None and not is_history:
                known = [each for merged in read_so_far.values() for each in merged]
                is_history = holds_history([version_times(each) for each in (*known, found.versions, found.later)])
            for key, rows in (("path", found.versions), ("later_path", found.later)):
                if len(rows):
                    read_so_far[key] = [merge_versions([*read_so_far[key], rows])]
        paths = dict.fromkeys(read_so_far, "")
        for key, merged in read_so_far.items():
            for table in merged:
                paths[key] = f"{run.folder.dir}/versions/{name}{'-later' if key == 'later_path' else ''}-{part}.parquet"
                write_table(run.storage, paths[key], table, table.schema)
        made = {"quarantined": quarantine.close(), "lacking": lacking.close(), "has_history": is_history, **paths}
        return {"rows": 0, "filtered": 0, "later": 0, **counts, **made, "dates": asdict(merged_evidence(dates))}

    return read
