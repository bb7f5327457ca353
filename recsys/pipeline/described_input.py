"""Reading an input that describes items or users: all versions of each, over the workers; the newest values win."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Literal

import pyarrow as pa

from recsys.data.read_tasks import ReadTask
from recsys.data.versions import VersionSpec, merge_versions, read_versions
from recsys.pipeline.cluster import for_each_part
from recsys.pipeline.input_counts import count_rows, refuse_bad_input
from recsys.pipeline.input_parts import ROWS_PER_PART, Quarantine, plan_parts, read_part
from recsys.pipeline.records import ReadRows
from recsys.pipeline.run import Record, Run
from recsys.pipeline.start_run import listed_files
from recsys.storage.tables import read_table, write_table


def read_described(run: Run, spec: VersionSpec, name: Literal["items", "users"]) -> tuple[pa.Table, ReadRows]:
    """The merged versions of all that an input describes, see `merge_versions`, and the counts of its rows.

    Args:
        run: The run.
        spec: The input, and how it is read.
        name: `items` or `users`.

    Raises:
        InputError: no row can be used, or too many rows are bad.
    """
    tasks = plan_parts(spec.source, listed_files(run, name))
    parts = for_each_part(list(tasks), partial(_version_reader, run, spec, tasks, name), label=name)
    counts = count_rows(parts)
    versions = [read_table(run.storage, part["path"]) for part in parts if part["path"]]
    refuse_bad_input(run, counts, sum(len(table) for table in versions), name)
    return merge_versions(versions), counts


def _version_reader(run: Run, spec: VersionSpec, tasks: dict[str, ReadTask], name: str) -> Callable[[str], Record]:
    limit = run.config.inputs.max_id_chars

    def read(part: str) -> Record:
        quarantine = Quarantine(run.storage, run.folder.quarantine_dir, f"{name}-{part}")
        versions: list[pa.Table] = []
        counts: Counter[str] = Counter()
        order = tasks[part].index * ROWS_PER_PART
        for source, table, malformed in read_part(spec.source, tasks[part]):
            found = read_versions(table, source, spec, limit, order)
            order += len(table)
            counts.update(rows=found.num_read + len(malformed), filtered=found.num_filtered)
            quarantine.add(malformed)
            quarantine.add(found.quarantined)
            versions = [merge_versions([*versions, found.versions])]
        path = ""
        if versions:
            path = f"{run.folder.dir}/versions/{name}-{part}.parquet"
            write_table(run.storage, path, versions[0], versions[0].schema)
        return {"rows": 0, "filtered": 0, **counts, "quarantined": quarantine.close(), "path": path}

    return read
