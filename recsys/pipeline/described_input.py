"""Reading an input that describes items or users: all versions of each, over the workers; the newest values win."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import pyarrow as pa

from recsys.data.files import Split
from recsys.data.versions import Described, merge_versions, read_versions
from recsys.pipeline.cluster import for_each_part
from recsys.pipeline.input_counts import count_rows, refuse_bad_input
from recsys.pipeline.input_parts import ROWS_PER_SPLIT, Quarantine, plan_parts, read_part
from recsys.pipeline.open_run import input_files
from recsys.pipeline.records import ReadRows
from recsys.pipeline.run import Record, Run
from recsys.storage.tables import read_table, write_table


def read_described(run: Run, what: Described, name: str) -> tuple[pa.Table, ReadRows]:
    """The merged versions of all that an input describes, see `merge_versions`, and the counts of its rows.

    Args:
        run: The run.
        what: The input, and how it is read.
        name: `items` or `users`.

    Raises:
        InputError: no row can be used, or too many rows are bad.
    """
    splits = plan_parts(what.source, input_files(what.source))
    parts = for_each_part(list(splits), partial(_version_reader, run, what, splits, name), label=name)
    counts = count_rows(parts)
    versions = [read_table(run.storage, part["path"]) for part in parts if part["path"]]
    refuse_bad_input(run, counts, sum(len(table) for table in versions), name)
    return merge_versions(versions), counts


def _version_reader(run: Run, what: Described, splits: dict[str, Split], name: str) -> Callable[[str], Record]:
    limit = run.config.inputs.max_id_chars

    def read(part: str) -> Record:
        quarantine = Quarantine(run.storage, run.folder.quarantine_dir, f"{name}-{part}")
        versions: list[pa.Table] = []
        counts: Counter[str] = Counter()
        order = splits[part].index * ROWS_PER_SPLIT
        for source, table, malformed in read_part(what.source, splits[part]):
            found = read_versions(table, source, what, limit, order)
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
