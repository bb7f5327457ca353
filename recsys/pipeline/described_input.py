"""Reading an input that describes items or users: all versions of each, over the workers; the newest values win."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import pyarrow as pa

from recsys.data.date_evidence import DateEvidence, DateReading, merged_evidence
from recsys.data.optional_columns import LackingColumns, check_lacking
from recsys.data.read_tasks import ReadTask
from recsys.data.versions import VersionSpec, merge_versions, read_versions
from recsys.pipeline.cluster import for_each_part
from recsys.pipeline.input_counts import count_rows, refuse_bad_input
from recsys.pipeline.input_parts import ROWS_PER_PART, Quarantine, plan_parts, read_part
from recsys.pipeline.open_run import input_files
from recsys.pipeline.records import ReadRows
from recsys.pipeline.run import Record, Run
from recsys.pipeline.settled_dates import read_with_settled_dates
from recsys.pipeline.stop_early import StopRule, read_or_refuse
from recsys.storage.tables import read_table, write_table


def read_described(run: Run, spec: VersionSpec, name: str) -> tuple[pa.Table, ReadRows]:
    """The merged versions of all that an input describes, see `merge_versions`, and the counts of its rows.

    Args:
        run: The run.
        spec: The input, and how it is read.
        name: `items` or `users`.

    Raises:
        InputError: no row can be used, too many rows are bad, or dates have two readings.
    """
    files = input_files(spec.source)
    tasks = plan_parts(spec.source, files)

    def read_parts(reading: DateReading) -> list[Record]:
        how = replace(spec, reading=reading, missing_values=run.config.inputs.missing_values)

        def read(rule: StopRule, until: Callable[[Record], bool]) -> list[Record]:
            return for_each_part(
                list(tasks), partial(_version_reader, run, how, tasks, name, rule), label=name, until=until
            )

        return read_or_refuse(run, name, spec.source, files, len(tasks), read)

    parts = read_with_settled_dates(run, name, spec.timestamp, read_parts)
    check_lacking([part["lacking"] for part in parts], spec.source)
    counts = count_rows(parts)
    versions = [read_table(run.storage, part["path"]) for part in parts if part["path"]]
    refuse_bad_input(run, counts, sum(len(table) for table in versions), name)
    return merge_versions(versions), counts


def _version_reader(
    run: Run, spec: VersionSpec, tasks: dict[str, ReadTask], name: str, rule: StopRule
) -> Callable[[str], Record]:
    limit = run.config.inputs.max_id_chars

    def read(part: str) -> Record:
        quarantine = Quarantine(run.storage, run.folder.quarantine_dir, f"{name}-{part}")
        versions: list[pa.Table] = []
        dates: list[DateEvidence] = []
        counts: Counter[str] = Counter()
        order = tasks[part].index * ROWS_PER_PART
        lacking = LackingColumns(spec.source)
        chunks = rule.limit(
            read_part(spec.source, tasks[part], lacking), quarantine, lambda: counts["rows"] - counts["filtered"]
        )
        for source, table, malformed in chunks:
            found = read_versions(table, source, spec, limit, order)
            order += len(table)
            counts.update(rows=found.num_read + len(malformed), filtered=found.num_filtered)
            quarantine.add(malformed)
            quarantine.add(found.quarantined)
            dates.append(found.dates)
            versions = [merge_versions([*versions, found.versions])]
        path = ""
        if versions:
            path = f"{run.folder.dir}/versions/{name}-{part}.parquet"
            write_table(run.storage, path, versions[0], versions[0].schema)
        evidence = asdict(merged_evidence(dates))
        return {
            "rows": 0,
            "filtered": 0,
            **counts,
            "quarantined": quarantine.close(),
            "lacking": lacking.close(),
            "path": path,
            "dates": evidence,
        }

    return read
