"""Reading, checking and sharding the input over Ray's workers: catalog, users, events and the users' histories."""

import datetime as dt
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from recsys.data.catalog import build_catalog, described_items
from recsys.data.events import interactions_schema, normalise_events
from recsys.data.files import Split
from recsys.data.histories import shard_of, sort_interactions
from recsys.data.item_counts import RECENT_DAYS, count_items, merge_counts
from recsys.data.searches import part_searches
from recsys.data.splits import last_moments
from recsys.data.user_table import build_profiles, described_users
from recsys.data.versions import Described, merge_versions, read_versions
from recsys.errors import InputError
from recsys.pipeline.cluster import for_each_part, peak_of
from recsys.pipeline.ingest_feedback import ingest_feedback
from recsys.pipeline.input_parts import ROWS_PER_SPLIT, Quarantine, event_rules, plan_parts, read_part
from recsys.pipeline.item_rules import recommendable
from recsys.pipeline.memory import peak_memory_mb, reset_peak_memory
from recsys.pipeline.open_run import input_files
from recsys.pipeline.records import IngestedCatalog, IngestedEvents, IngestedUsers, ShuffledHistories, ValidationUsers
from recsys.pipeline.run import CountedDays, Record, Run
from recsys.pipeline.stages import INGEST_EVENTS
from recsys.pipeline.user_texts import ShardTexts, read_profiles, write_texts
from recsys.schema import CATALOG, INTERACTIONS_WITH_TEXT, PROFILES
from recsys.storage.tables import read_table, write_table

logger = logging.getLogger(__name__)

#: The newest event may be this many days older than the night's date before a warning names its date.
STALE_DAYS = 2
#: Up to this many accepted events, each worker reads all of them, and no shuffle is needed: Ray Data's would cost
#: seconds whatever the number of events. The result is the same.
ROWS_READ_WHOLE = 1_000_000
#: Histories are read a row group at a time: this bounds the memory of scoring, whatever the number of users, and what
#: the live service decodes to look one user up (2 ms of a core; 2,048 users took 6 ms).
USERS_PER_ROW_GROUP = 512
#: Spans before the cutoff, in days, from whose users the validation users are drawn: the shortest that holds enough.
_VALIDATION_DAYS = tuple(7 * 2**doubled for doubled in range(11))


def ingest_catalog(run: Run) -> IngestedCatalog:
    """Read every version of every item, keep the latest, write the catalog; a rule that leaves nothing stops here."""
    merged, totals = _read_described(run, described_items(run.config.inputs.items), "items")
    spec = run.config.inputs.items
    catalog = build_catalog(merged, spec)
    available = pc.sum(catalog["available"]).as_py() or 0
    if not available:
        raise InputError(
            f"inputs.items: none of the {len(catalog):,} items of {spec.path} is available; "
            f"inputs.items.columns.available={spec.columns.available!r} must name a column that is true where an item "
            f"may be recommended"
        )
    write_table(run.storage, run.catalog_path, catalog, CATALOG)
    recommendable(run, catalog)
    return IngestedCatalog(**totals, items=len(catalog), available=available, path=run.catalog_path)


def ingest_users(run: Run) -> IngestedUsers:
    """Read every version of every user, keep the latest, write what they are in the shards of the histories."""
    spec = run.config.inputs.users
    assert spec is not None, "no users are read"
    merged, totals = _read_described(run, described_users(spec), "users")
    profiles = build_profiles(merged, spec)
    shard = shard_of(profiles["user_id"], run.config.histories.shards)
    for number in np.unique(shard):
        path = f"{run.profiles_dir}/shard-{number:05d}.parquet"
        write_table(run.storage, path, profiles.filter(pa.array(shard == number)), PROFILES)
    return IngestedUsers(**totals, users=len(profiles), path=run.profiles_dir)


def _read_described(run: Run, what: Described, name: str) -> tuple[pa.Table, Record]:
    """Merged versions of all that an input describes, and the counts of its rows."""
    splits = plan_parts(what.source, input_files(what.source))
    records = for_each_part(list(splits), partial(_version_reader, run, what, splits, name), label=name)
    totals = _totals(records)
    versions = [read_table(run.storage, record["path"]) for record in records if record["path"]]
    _refuse_bad_input(run, totals, sum(len(table) for table in versions), name)
    return merge_versions(versions), totals


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
        return {**counts, "quarantined": quarantine.close(), "path": path}

    return read


def ingest_events(run: Run) -> IngestedEvents:
    """Normalise every event, or quarantine it with its reason; later events wait for their own night."""
    source = run.config.inputs.events
    splits = plan_parts(source, input_files(source))
    now = dt.datetime.now(dt.UTC)
    records = for_each_part(list(splits), partial(_event_reader, run, splits, now), label="ingest")
    totals = _totals(records)
    _refuse_bad_input(run, totals, sum(record["accepted"] for record in records), "events")
    told = ingest_feedback(run, now)
    if told is not None:
        totals = _totals([*records, *told.parts])
        # Beside the events: a few things told of an item that is gone must not stop the night, a flood of them must.
        _refuse_bad_rate(run, totals, "feedback", forgiven=told.num_torn)
        records += told.parts + told.buckets
    kinds: Counter[str] = Counter()
    for record in records:
        kinds.update(record.get("kinds", {}))
    newest = max(record.get("newest", "") for record in records)
    _warn_of_stale_events(run, newest)
    return IngestedEvents(
        **totals | {"peak_memory_mb": peak_of(records)},
        accepted=sum(record.get("accepted", 0) for record in records),
        later=sum(record.get("later", 0) for record in records),
        newest=newest,
        kinds=sorted(kinds),
        parts=[record["path"] for record in records if record.get("accepted")],
        **({} if told is None else told.counts),
    )


def _event_reader(run: Run, splits: dict[str, Split], now: dt.datetime) -> Callable[[str], Record]:
    inputs = run.config.inputs
    rules = event_rules(run, now)

    def read(part: str) -> Record:
        quarantine = Quarantine(run.storage, run.folder.quarantine_dir, f"events-{part}")
        counts: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        newest = ""

        def accepted() -> Iterator[pa.Table]:
            nonlocal newest
            for source, table, malformed in read_part(inputs.events, splits[part]):
                found = normalise_events(table, source, inputs.events, rules)
                counts.update(rows=found.num_read + len(malformed), filtered=found.num_filtered, later=found.num_later)
                quarantine.add(malformed)
                quarantine.add(found.quarantined)
                for kind in pc.value_counts(found.accepted["event"]).to_pylist():
                    kinds[kind["values"]] += kind["counts"]
                newest = max(newest, found.newest.isoformat() if found.newest else "")
                yield found.accepted

        path = f"{run.folder.dir}/events/part-{part}.parquet"
        stats = write_table(run.storage, path, accepted(), interactions_schema(inputs.events))
        return {
            "rows": 0,
            "filtered": 0,
            "later": 0,
            **counts,
            "accepted": stats.rows,
            "kinds": dict(kinds),
            "newest": newest,
            "quarantined": quarantine.close(),
            "path": path,
        }

    return read


def shuffle_histories(run: Run) -> ShuffledHistories:
    """Bring each user's events together in one shard: the only shuffle of the night."""
    ingested = run.record(INGEST_EVENTS)
    few = ingested.accepted <= ROWS_READ_WHOLE
    records = _write_shards(run, ingested.parts) if few else _shuffle_shards(run, ingested.parts)
    _merge_counts(run, [record["shard"] for record in records])
    active = np.sum([record["active"] for record in records], axis=0)
    return ShuffledHistories(
        rows=ingested.accepted,
        users=sum(record["users"] for record in records),
        held_out_users=sum(record["held_out_users"] for record in records),
        searches=sum(record["searches"] for record in records),
        duplicates=sum(record["duplicates"] for record in records),
        validation=_choose_validation(run, active.tolist()),
        oldest=min(record["oldest"] for record in records),
        shards=[record["shard"] for record in records],
        path=run.folder.histories_dir,
        peak_memory_mb=peak_of(records),
    )


def _write_shards(run: Run, paths: list[str]) -> list[Record]:
    """Write the shards of few events: each worker reads all events once and keeps the rows of its shards."""
    events = pa.concat_tables([read_table(run.storage, path, ["user_id"]) for path in paths])
    numbers = np.unique(shard_of(events["user_id"], run.config.histories.shards))
    return for_each_part([str(number) for number in numbers], partial(_shard_writer, run, paths), label="histories")


def _shard_writer(run: Run, paths: list[str]) -> Callable[[str], Record]:
    events = pa.concat_tables([read_table(run.storage, path) for path in paths])
    shard = shard_of(events["user_id"], run.config.histories.shards)

    def write(part: str) -> Record:
        number = int(part)
        return _write_shard(run, number, events.filter(pa.array(shard == number)))

    return write


def _shuffle_shards(run: Run, paths: list[str]) -> list[Record]:
    """Write the shards of many events, which Ray Data brings together from all files of events."""
    shards = run.config.histories.shards
    fs, root = run.storage.arrow()
    rows = (
        ray.data.read_parquet([f"{root}/{path}" for path in paths], filesystem=fs)
        .map_batches(partial(_assign_shard, shards), batch_format="pyarrow", batch_size=131_072, zero_copy_batch=True)
        .groupby("shard", num_partitions=shards)
        .map_groups(partial(_write_group, run), batch_format="pyarrow")
        .take_all()
    )
    return sorted((json.loads(row["record"]) for row in rows), key=lambda record: str(record["shard"]))


def _assign_shard(num_shards: int, events: pa.Table) -> pa.Table:
    return events.append_column("shard", pa.array(shard_of(events["user_id"], num_shards), pa.int32()))


def _write_group(run: Run, group: pa.Table) -> pa.Table:
    reset_peak_memory()
    record = _write_shard(run, group["shard"][0].as_py(), group) | {"peak_memory_mb": peak_memory_mb()}
    return pa.table({"record": pa.array([json.dumps(record)], pa.string())})


def _write_shard(run: Run, number: int, group: pa.Table) -> Record:
    """Lay out one shard: sorted interactions, searches, histories, and the counts of the items before the cutoff."""
    name = f"shard-{number:05d}"
    schema = interactions_schema(run.config.inputs.events)
    events, duplicates = sort_interactions(group.select(schema.names).cast(schema))
    interactions, searches = events, None
    if schema == INTERACTIONS_WITH_TEXT:
        interactions, searches = part_searches(events)
        write_table(run.storage, f"{run.searches_dir}/{name}.parquet", searches, schema)
    texts = ShardTexts(searches=searches, profiles=read_profiles(run, name))
    nothing = interactions.slice(0, 0)
    histories = texts.histories(interactions, None, nothing, run.end, run.config.histories.kept_events)
    if run.config.inputs.has_user_texts:
        write_texts(run, name, events, histories)
    write_table(run.storage, f"{run.interactions_dir}/{name}.parquet", interactions, schema)
    path = f"{run.folder.histories_dir}/{name}.parquet"
    write_table(run.storage, path, histories, histories.schema, row_group_size=USERS_PER_ROW_GROUP)
    split = run.split(interactions)
    for kind, counts in _item_counts(run, interactions, split.train).items():
        write_table(run.storage, _counts_path(run, kind, name), counts, counts.schema)
    return {
        "shard": name,
        "users": len(histories),
        "held_out_users": pc.count_distinct(split.holdout["user_id"]).as_py(),
        "rows": len(interactions),
        "searches": 0 if searches is None else len(searches),
        "duplicates": duplicates,
        "active": _active_users(run, split.train),
        "oldest": pc.min(events["timestamp"]).as_py().astimezone(dt.UTC).isoformat(),
    }


def _item_counts(run: Run, interactions: pa.Table, train: pa.Table) -> dict[CountedDays, pa.Table]:
    """Interactions with each item of one shard, by the days that are counted."""
    week = dt.timedelta(days=RECENT_DAYS)
    return {
        "train": count_items(train),
        "train_7d": count_items(train, run.cutoff - week),
        "full": count_items(interactions),
        "full_7d": count_items(interactions, run.end - week),
    }


def _active_users(run: Run, train: pa.Table) -> list[int]:
    """Users of one shard who could be validated, by how many weeks, doubled each time, hold their last moment."""
    moments = last_moments(train)
    age_days = (run.cutoff.timestamp() - moments / 1e6) / 86_400
    return [int((age_days <= days).sum()) for days in _VALIDATION_DAYS]


def _choose_validation(run: Run, active: list[int]) -> ValidationUsers:
    """The shortest time before the cutoff that holds `train.validation_users`, and the share of its users to draw."""
    wanted = run.config.train.validation_users
    enough = [place for place, num in enumerate(active) if num >= wanted]
    place = enough[0] if enough else len(active) - 1
    return ValidationUsers(days=_VALIDATION_DAYS[place], share=min(1.0, wanted / max(active[place], 1)))


def _counts_path(run: Run, kind: CountedDays, shard: str) -> str:
    return f"{run.folder.dir}/item_counts/{kind}-{shard}.parquet"


def _merge_counts(run: Run, shards: list[str]) -> None:
    for kind in get_args(CountedDays):
        merged = merge_counts([read_table(run.storage, _counts_path(run, kind, shard)) for shard in shards])
        write_table(run.storage, run.item_counts_path(kind), merged, merged.schema)


def _warn_of_stale_events(run: Run, newest: str) -> None:
    age = run.end - dt.datetime.fromisoformat(newest)
    if age > dt.timedelta(days=STALE_DAYS + 1):
        logger.warning("the newest event is of %s, %d days before the night's date %s", newest, age.days, run.date)


def _totals(records: list[Record]) -> Record:
    """Counts of all parts of an ingest."""
    reasons: Counter[str] = Counter()
    for record in records:
        reasons.update(record["quarantined"])
    return {
        "rows": sum(record["rows"] for record in records),
        "filtered": sum(record["filtered"] for record in records),
        "quarantined": sum(reasons.values()),
        "reasons": dict(sorted(reasons.items())),
        "peak_memory_mb": peak_of(records),
    }


def _refuse_bad_input(run: Run, totals: Record, num_usable: int, key: str) -> None:
    """Stop where nothing can be used, or where too much is bad; the quarantine stays for reading."""
    source = getattr(run.config.inputs, key)
    where = f" (`where` left out {totals['filtered']:,})" if totals["filtered"] else ""
    if not totals["rows"]:
        raise InputError(f"inputs.{key}: {source.path} holds no rows; name files with rows")
    _refuse_bad_rate(run, totals, key)
    if not num_usable:
        raise InputError(f"inputs.{key}: none of the {totals['rows']:,} rows of {source.path} can be used{where}")


def _refuse_bad_rate(run: Run, totals: Record, key: str, forgiven: int = 0) -> None:
    """Stop where too much is bad; `forgiven` bad rows do not count."""
    considered, bad = totals["rows"] - totals["filtered"], totals["quarantined"] - forgiven
    rate, limit = bad / max(considered, 1), run.config.inputs.max_quarantine_rate
    if rate > limit:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in totals["reasons"].items())
        told = key == "feedback"
        way_out = "mend or move the files, set inputs.feedback to false" if told else "mend the input, narrow `where`"
        raise InputError(
            f"inputs.{key}: {bad:,} of {considered:,} rows{' of events and feedback' if told else ''} ({rate:.1%}) "
            f"cannot be used, more than inputs.max_quarantine_rate={limit:.1%}: {reasons}. They are in "
            f"{run.storage.url(run.folder.quarantine_dir)}; {way_out}, or raise the limit",
            {f"inputs.{key}": totals},
        )
