"""The stage `histories`: the events of each user come together in one shard. It is the only shuffle of the night."""

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from recsys.data.checks.row_filter import sql_name
from recsys.data.events.impressions import split_impressions, with_served
from recsys.data.events.interactions import interactions_schema
from recsys.data.events.non_positives import split_non_positives, with_equal_weights
from recsys.data.events.searches import split_searches
from recsys.data.histories import shard_name, shard_of, sort_interactions
from recsys.pipeline.input_records import ShuffledHistories
from recsys.pipeline.inputs.choose_validation import (
    choose_validation,
    count_active_users,
    count_trainable_users,
    count_users,
)
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import INGEST_EVENTS
from recsys.pipeline.stored.shard_item_counts import merge_shard_counts, write_shard_counts
from recsys.pipeline.stored.user_context import UserContext
from recsys.pipeline.stored.user_texts import profile_shards, read_input_profiles, write_texts
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.pipeline.workers.memory import peak_memory_mb, reset_peak_memory
from recsys.ranking.experiment_config import rules_of_arms
from recsys.schema import INTERACTIONS_WITH_TEXT
from recsys.storage.tables import iter_batches, read_table, write_table

logger = logging.getLogger(__name__)

#: From this share of the events of at least so many users on, one user is hardly one person.
SUSPICIOUS_SHARE, SUSPICIOUS_USERS = 0.1, 100
#: Up to so many accepted events, each worker reads all of them. Ray Data's shuffle costs seconds for any number of
#: events. Both ways write the same files.
ROWS_READ_WHOLE = 1_000_000
_ROWS_PER_BATCH = 131_072
#: Readers decode whole row groups. This bounds the memory of scoring for any number of users, and the time in which the
#: live service finds one user (2 ms of a core; with 2,048 users it took 6 ms).
USERS_PER_ROW_GROUP = 512


def shuffle_histories(run: Run) -> ShuffledHistories:
    """Bring the events of each user together in one shard, and write the shard's tables."""
    ingested = run.record(INGEST_EVENTS)
    few = ingested.accepted <= ROWS_READ_WHOLE
    records = _write_shards(run, ingested.parts) if few else _shuffle_shards(run, ingested.parts)
    merge_shard_counts(run, [record["shard"] for record in records])
    users = sum(record["users"] for record in records)
    _warn_of_one_for_all(run, max(records, key=lambda record: int(record["most_events"])), users)
    counts = [
        np.sum([record[key] for record in records], axis=0).tolist() for key in ("by_length", "active", "trainable")
    ]
    return ShuffledHistories(
        rows=ingested.accepted,
        users=users,
        held_out_users=sum(record["held_out_users"] for record in records),
        searches=sum(record["searches"] for record in records),
        duplicates=sum(record["duplicates"] for record in records),
        non_positives=sum(record["non_positives"] for record in records),
        impressions=sum(record["impressions"] for record in records),
        validation=choose_validation(run, *counts),
        oldest=min((record["oldest"] for record in records if record["oldest"]), default=run.end.isoformat()),
        shards=[record["shard"] for record in records],
        path=run.folder.histories_dir,
        peak_memory_mb=peak_of(records),
    )


def _warn_of_one_for_all(run: Run, record: Record, users: int) -> None:
    """Say it where the busiest user, who is in the shard of this record, is likely to be all guests of a shop."""
    number, user_id = record["most_events"], record["busiest"]
    accepted, source = run.record(INGEST_EVENTS).accepted, run.config.inputs.events
    if source is not None and users >= SUSPICIOUS_USERS and number >= SUSPICIOUS_SHARE * accepted:
        text = user_id.replace("'", "''")
        condition = f"{sql_name(source.columns.user_id)} <> '{text}'"
        logger.warning(
            f"histories: the user {user_id} has {number:,} of {accepted:,} events ({number / accepted:.0%}). If it is "
            f"the id of all guests, their events teach what goes together by chance: leave them out by "
            f"inputs.events.where: {json.dumps(condition, ensure_ascii=False)}"
        )


def _write_shards(run: Run, paths: list[str]) -> list[Record]:
    """Write the shards of few events: each worker reads all events and keeps the rows of its shards.

    Where no user is known, one empty shard is written: later stages find tables without rows, and need no rule for it.
    """
    events = _read_parts(run, paths, ["user_id"])
    with_events = np.unique(shard_of(events["user_id"], run.config.histories.shards)).tolist()
    numbers = sorted({*profile_shards(run), *with_events} or {0})
    return _write_each(run, paths, numbers, len(events))


def _write_each(run: Run, paths: list[str], numbers: Sequence[int], rows: int) -> list[Record]:
    writer = partial(_shard_writer, run, paths)
    return for_each_part([str(number) for number in numbers], writer, label="histories", rows=rows)


def _shard_writer(run: Run, paths: list[str]) -> Callable[[str], Record]:
    events = _read_parts(run, paths)
    shard = shard_of(events["user_id"], run.config.histories.shards)

    def write(part: str) -> Record:
        number = int(part)
        return _write_shard(run, number, events.filter(pa.array(shard == number)))

    return write


def _read_parts(run: Run, paths: list[str], columns: Sequence[str] | None = None) -> pa.Table:
    schema = interactions_schema(run.config.inputs.event_settings)
    nothing = schema.empty_table().select(columns or schema.names)
    return pa.concat_tables([nothing, *(read_table(run.storage, path, columns) for path in paths)])


def _shuffle_shards(run: Run, paths: list[str]) -> list[Record]:
    """Write the shards of many events, which Ray Data brings together from all files of events."""
    shards = run.config.histories.shards
    rows = (
        # Ray's own reader takes `#`, `?` and `%20` in a path for parts of a URL, and does not find the file.
        ray.data.from_items([{"path": path} for path in paths], override_num_blocks=len(paths))
        .map_batches(partial(_read_events, run), batch_format="pyarrow", batch_size=1)
        .map_batches(
            partial(_assign_shard, shards), batch_format="pyarrow", batch_size=_ROWS_PER_BATCH, zero_copy_batch=True
        )
        .groupby("shard", num_partitions=shards)
        .map_groups(partial(_write_group, run), batch_format="pyarrow")
        .take_all()
    )
    records = [json.loads(row["record"]) for row in rows]
    written = {record["shard"] for record in records}
    without_events = [number for number in profile_shards(run) if shard_name(number) not in written]
    return sorted([*records, *_write_each(run, [], without_events, 0)], key=lambda record: str(record["shard"]))


def _read_events(run: Run, batch: pa.Table) -> Iterator[pa.Table]:
    for path in batch["path"].to_pylist():
        yield from iter_batches(run.storage, path, _ROWS_PER_BATCH)


def _assign_shard(num_shards: int, events: pa.Table) -> pa.Table:
    return events.append_column("shard", pa.array(shard_of(events["user_id"], num_shards), pa.int32()))


def _write_group(run: Run, group: pa.Table) -> pa.Table:
    reset_peak_memory()
    record = _write_shard(run, group["shard"][0].as_py(), group) | {"peak_memory_mb": peak_memory_mb()}
    return pa.table({"record": pa.array([json.dumps(record)], pa.string())})


def _write_shard(run: Run, number: int, group: pa.Table) -> Record:
    """Write the tables of one shard: interactions, non-positives, searches, histories, texts and item counts.

    Args:
        run: The run.
        number: Of the shard.
        group: All events of its users, in any order.
    """
    name = shard_name(number)
    schema = interactions_schema(run.config.inputs.event_settings)
    group = group.select(schema.names).cast(schema)
    if run.record(INGEST_EVENTS).weightless:
        group = with_equal_weights(group)
    everything, duplicates = sort_interactions(group)
    others, impressions = split_impressions(everything)
    events, non_positives = split_non_positives(others)
    interactions, searches = events, None
    if schema == INTERACTIONS_WITH_TEXT:
        interactions, searches = split_searches(events)
        write_table(run.storage, f"{run.searches_dir}/{name}.parquet", searches, schema)
    if len(non_positives):
        write_table(run.storage, f"{run.non_positives_dir}/{name}.parquet", non_positives, schema)
    if len(impressions):
        write_table(run.storage, f"{run.impressions_dir}/{name}.parquet", impressions, schema)
    context = UserContext(
        searches=searches,
        profiles=read_input_profiles(run, name),
        non_positives=non_positives,
        exclude_rejected=run.config.recommend.exclude_rejected,
    )
    nothing = interactions.slice(0, 0)
    users = context.users_of(everything) if len(impressions) else None
    histories = context.histories(interactions, users, nothing, run.end, run.config.histories.kept_events)
    rules = [run.config.rerank, *rules_of_arms(run.config.experiments, run.config.rerank).values()]
    if any(each.exclude_served is not None for each in rules):
        histories = with_served(histories, impressions, interactions)
    if run.config.inputs.has_user_texts:
        write_texts(run, name, events, histories)
    write_table(run.storage, f"{run.interactions_dir}/{name}.parquet", interactions, schema)
    path = f"{run.folder.histories_dir}/{name}.parquet"
    write_table(run.storage, path, histories, histories.schema, row_group_size=USERS_PER_ROW_GROUP)
    split = run.split(interactions)
    busiest, most_events = _busiest(everything)
    write_shard_counts(run, name, interactions, split.train)
    return {
        "shard": name,
        "users": len(histories),
        "busiest": busiest,
        "most_events": most_events,
        "held_out_users": pc.count_distinct(split.holdout["user_id"]).as_py(),
        "rows": len(interactions),
        "searches": 0 if searches is None else len(searches),
        "non_positives": len(non_positives),
        "impressions": len(impressions),
        "duplicates": duplicates,
        "by_length": count_users(split.train),
        "active": count_active_users(run, split.train),
        "trainable": count_trainable_users(run, split.train),
        "oldest": _oldest(everything),
    }


def _oldest(events: pa.Table) -> str:
    """Time of the oldest event, ISO 8601, UTC; "" without any."""
    oldest = pc.min(events["timestamp"]).as_py()
    return "" if oldest is None else oldest.astimezone(dt.UTC).isoformat()


def _busiest(events: pa.Table) -> tuple[str, int]:
    """The user with the most events, and how many they are; "" and 0 without any."""
    if not len(events):
        return "", 0
    users = pc.value_counts(events["user_id"])
    first = pc.index(users.field("counts"), pc.max(users.field("counts"))).as_py()
    return users.field("values")[first].as_py(), users.field("counts")[first].as_py()
