"""Reading what the live service was told as a second source of events, each event once, on Ray's workers."""

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.config import EventsInput
from recsys.data.events import interactions_schema
from recsys.data.feedback import bucket_of, drop_repeats, feedback_schema, read_feedback
from recsys.data.files import Split
from recsys.pipeline.cluster import for_each_part
from recsys.pipeline.input_parts import ROWS_PER_SPLIT, Quarantine, event_rules, plan_parts, read_part
from recsys.pipeline.open_run import feedback_files, feedback_input
from recsys.pipeline.run import Record, Run
from recsys.storage.tables import read_table, write_table

#: Source bytes of the events whose repeats are looked for together, in the memory of one worker.
BUCKET_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Told:
    """What became of the feedback: records of reading it, then of its events by bucket, where each is kept once."""

    parts: list[Record]
    buckets: list[Record]

    @property
    def num_torn(self) -> int:
        """Lines that may be no more than the ends of files whose writer was killed, or is writing at this moment.

        Nobody was told that they are kept, so they are no fault of the input.
        """
        return sum(record["torn"] for record in self.parts)

    @property
    def counts(self) -> Record:
        """For the stage's record: events that were accepted, and what came twice."""
        repeats = sum(record["repeats"] for record in [*self.parts, *self.buckets])
        return {"feedback": sum(record["accepted"] for record in self.buckets), "feedback_repeats": repeats}


def ingest_feedback(run: Run, now: dt.datetime) -> Told | None:
    """Normalise what the service was told, or quarantine it with its reason; None where there is nothing."""
    files = feedback_files(run.config, run.date)
    if not files:
        return None
    source = feedback_input(run.config)
    splits = plan_parts(source, files)
    num_buckets = 1 + sum(file.size for file in files) // BUCKET_BYTES
    reader = partial(_reader, run, source, splits, num_buckets, now)
    parts = for_each_part(list(splits), reader, label="feedback")
    paths: dict[str, list[str]] = {}
    for record in parts:
        for bucket, path in record["written"].items():
            paths.setdefault(bucket, []).append(path)
    return Told(parts, for_each_part(sorted(paths), partial(_distinct, run, source, paths), label="feedback"))


def _reader(
    run: Run,
    source: EventsInput,
    splits: dict[str, Split],
    num_buckets: int,
    now: dt.datetime,
) -> Callable[[str], Record]:
    rules = event_rules(run, now)
    schema = feedback_schema(source)

    def read(part: str) -> Record:
        quarantine = Quarantine(run.storage, run.folder.quarantine_dir, f"feedback-{part}")
        counts: Counter[str] = Counter()
        malformed_in: Counter[str] = Counter()
        place = splits[part].index * ROWS_PER_SPLIT
        accepted = [schema.empty_table()]
        for file, table, malformed in read_part(source, splits[part]):
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


def _distinct(run: Run, source: EventsInput, paths: dict[str, list[str]]) -> Callable[[str], Record]:
    schema = interactions_schema(source)

    def keep(bucket: str) -> Record:
        told = pa.concat_tables([read_table(run.storage, path) for path in paths[bucket]])
        events = drop_repeats(told).select(schema.names)
        path = f"{run.folder.dir}/events/feedback-{bucket}.parquet"
        write_table(run.storage, path, events, schema)
        return {
            "accepted": len(events),
            "repeats": len(told) - len(events),
            "kinds": {kind["values"]: kind["counts"] for kind in pc.value_counts(events["event"]).to_pylist()},
            "newest": pc.max(events["timestamp"]).as_py().astimezone(dt.UTC).isoformat(),
            "path": path,
        }

    return keep
