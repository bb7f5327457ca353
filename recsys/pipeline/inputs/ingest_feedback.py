"""Feedback: the events that the live service stored are read as a second source of events, each event once."""

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.config import EventsInput
from recsys.data.events.event_kinds import EventKinds
from recsys.data.events.feedback import bucket_of, drop_repeats, feedback_schema, read_feedback
from recsys.data.events.interactions import interactions_schema
from recsys.data.files.read_tasks import ReadTask
from recsys.pipeline.inputs.input_list import feedback_input
from recsys.pipeline.inputs.input_parts import ROWS_PER_PART, Quarantine, event_rules, labels_of, plan_parts, read_part
from recsys.pipeline.run import Record, Run
from recsys.pipeline.start_run import listed_files
from recsys.pipeline.workers.cluster import for_each_part
from recsys.storage.tables import read_table, write_table

#: Repeats are searched within a bucket of the events, in the memory of one worker. Source bytes of a bucket, about.
BUCKET_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class IngestedFeedback:
    """What became of the feedback."""

    parts: list[Record]
    """Records of reading the files."""
    buckets: list[Record]
    """Records of dropping the repeats."""

    @property
    def num_torn(self) -> int:
        """Broken lines, at most one a file.

        A file ends in one when its writer was killed or is writing now. The service confirmed no such event.
        """
        return sum(record["torn"] for record in self.parts)

    @property
    def num_accepted(self) -> int:
        """Events that were accepted."""
        return sum(record["accepted"] for record in self.buckets)

    @property
    def num_repeats(self) -> int:
        """Events that came again."""
        return sum(record["repeats"] for record in [*self.parts, *self.buckets])


def ingest_feedback(run: Run, now: dt.datetime) -> IngestedFeedback | None:
    """Write every feedback event once, or put it into quarantine with a reason; None where there is no feedback.

    Args:
        run: The run.
        now: Time of the start, to refuse timestamps of the future.
    """
    files = listed_files(run, "feedback")
    if not files:
        return None
    source = feedback_input(run.config)
    tasks = plan_parts(source, files)
    num_buckets = 1 + sum(task.num_bytes for task in tasks.values()) // BUCKET_BYTES
    reader = partial(_reader, run, source, tasks, num_buckets, now)
    parts = for_each_part(list(tasks), reader, label="feedback", names=labels_of(tasks))
    paths: dict[str, list[str]] = {}
    for record in parts:
        for bucket, path in record["written"].items():
            paths.setdefault(bucket, []).append(path)
    return IngestedFeedback(
        parts, for_each_part(sorted(paths), partial(_repeats_dropper, run, source, paths), label="feedback")
    )


def _reader(
    run: Run,
    source: EventsInput,
    tasks: dict[str, ReadTask],
    num_buckets: int,
    now: dt.datetime,
) -> Callable[[str], Record]:
    rules = event_rules(run, now)
    schema = feedback_schema(source)

    def read(part: str) -> Record:
        quarantine = Quarantine(run.storage, run.folder.quarantine_dir, f"feedback-{part}")
        counts: Counter[str] = Counter()
        malformed_in: Counter[str] = Counter()
        place = tasks[part].index * ROWS_PER_PART
        accepted = [schema.empty_table()]
        for file, table, malformed in read_part(source, tasks[part]):
            found = read_feedback(table, file, source, rules, place)
            place += len(table)
            counts.update(rows=len(table) + len(malformed), filtered=found.num_searches, later=found.read.num_later)
            malformed_in[file] += len(malformed)
            quarantine.add(malformed)
            quarantine.add(found.read.quarantined)
            accepted.append(found.events)
        everything = pa.concat_tables(accepted)
        events = drop_repeats(everything)
        buckets = bucket_of(events, num_buckets)
        written = {}
        for bucket in np.unique(buckets):
            name = f"bucket-{bucket:05d}"
            written[name] = f"{run.folder.dir}/feedback/{part}/{name}.parquet"
            write_table(run.storage, written[name], events.filter(pa.array(buckets == bucket)), schema)
        return {
            "rows": counts["rows"],
            "filtered": counts["filtered"],
            "later": counts["later"],
            "repeats": len(everything) - len(events),
            "torn": sum(min(num, 1) for num in malformed_in.values()),
            "quarantined": quarantine.close(),
            "written": written,
        }

    return read


def _repeats_dropper(run: Run, source: EventsInput, paths: dict[str, list[str]]) -> Callable[[str], Record]:
    schema = interactions_schema(source)

    def drop(bucket: str) -> Record:
        found = pa.concat_tables([read_table(run.storage, path) for path in paths[bucket]])
        events = drop_repeats(found).select(schema.names)
        path = f"{run.folder.dir}/events/feedback-{bucket}.parquet"
        write_table(run.storage, path, events, schema)
        return {
            "accepted": len(events),
            "repeats": len(found) - len(events),
            "kinds": EventKinds.count(events).as_json(),
            "newest": pc.max(events["timestamp"]).as_py().astimezone(dt.UTC).isoformat(),
            "path": path,
        }

    return drop
