"""The stage `enrich_users`: a profile of interests for each user with enough events, where the histories hold texts."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.profile_table import with_profiles
from recsys.enrichment.request import request_of
from recsys.pipeline.enrichment.text_store import read_texts
from recsys.pipeline.enrichment.user_facts import facts_writer, user_facts_path
from recsys.pipeline.enrichment.write_texts import TextWriter, enrich_config, usable_texts, write_missing
from recsys.pipeline.inputs.shuffle_histories import USERS_PER_ROW_GROUP
from recsys.pipeline.model_records import EnrichedUsers
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.stored.user_texts import read_input_profiles
from recsys.pipeline.workers.cluster import for_each_part
from recsys.schema import PROFILE, PROFILES, USER_PROFILES
from recsys.storage.tables import read_table, write_table

logger = logging.getLogger(__name__)

#: The users whose profiles are written first: those with most events, then those with the newest.
_ORDER = [("num_events", "descending"), ("until", "descending"), ("user_id", "ascending")]


def enrich_users(run: Run) -> EnrichedUsers:
    """Have profiles written, write USER_PROFILES, and put the profiles into the histories.

    Raises:
        ConfigError: the back end cannot be loaded.
    """
    spec = enrich_config(run).users
    assert spec is not None, "the stage applies only to configs with enrich.users"
    histories = run.record(SHUFFLE_HISTORIES)
    for_each_part(histories.shards, partial(facts_writer, run, spec), label="enrich_users", rows=histories.rows)
    facts = pa.concat_tables([read_table(run.storage, user_facts_path(run, shard)) for shard in histories.shards])
    ordered = facts.take(pc.sort_indices(facts, sort_keys=_ORDER))
    writer = TextWriter.of(run, spec)
    found = write_missing(
        run, "enrich_users", writer, [request_of(data, spec) for data in ordered["facts"].to_pylist()]
    )
    build = partial(_profile_writer, run, writer, found.writer_id)
    records = for_each_part(histories.shards, build, label="enrich_users", rows=histories.rows)
    enriched = sum(record["enriched"] for record in records)
    logger.info(
        "enrich_users: %s of %s users with enough events have a written profile, %s wait for the next night",
        *(f"{count:,}" for count in (enriched, len(facts), found.counts["waiting"])),
    )
    return EnrichedUsers(rows=len(facts), enriched=enriched, path=run.user_profiles_dir, **found.counts)


def _profile_writer(run: Run, writer: TextWriter, writer_id: str) -> Callable[[str], Record]:
    config = enrich_config(run)
    texts = usable_texts(config, read_texts(run.storage, writer_id))
    model = writer.model(config)

    def write(shard: str) -> Record:
        facts = read_table(run.storage, user_facts_path(run, shard))
        rows = [
            {
                "user_id": row["user_id"],
                "profile": texts[row["key"]].as_line,
                "summary": texts[row["key"]].summary,
                "keywords": texts[row["key"]].keywords,
                "model": model,
                "prompt_hash": writer.prompt_hash,
                "until": row["until"],
            }
            for row in facts.to_pylist()
            if row["key"] in texts
        ]
        table = _with_input(pa.Table.from_pylist(rows, schema=USER_PROFILES), read_input_profiles(run, shard))
        write_table(run.storage, f"{run.user_profiles_dir}/{shard}.parquet", table, USER_PROFILES)
        _rewrite_histories(run, shard, table.select(PROFILES.names))
        return {"enriched": len(rows)}

    return write


def _with_input(written: pa.Table, known: pa.Table | None) -> pa.Table:
    """USER_PROFILES of the users with a profile of the input or a written one, by user id; the input's comes first."""
    if known is None or not len(known):
        return written.sort_by("user_id").combine_chunks()
    of_input = dict(zip(known["user_id"].to_pylist(), known["profile"].to_pylist(), strict=True))
    rows = {row["user_id"]: row for row in written.to_pylist()}
    nothing: dict[str, Any] = {"summary": "", "keywords": [], "model": "", "prompt_hash": "", "until": None}
    both = [
        {"user_id": user, **nothing, **rows.get(user, {})}
        | {"profile": ". ".join(filter(None, (of_input.get(user), rows.get(user, {}).get("profile"))))}
        for user in sorted({*of_input, *rows})
    ]
    return pa.Table.from_pylist(both, schema=USER_PROFILES)


def _rewrite_histories(run: Run, shard: str, profiles: pa.Table) -> None:
    """Put the profiles into the histories of a shard; doing it twice gives the same file."""
    path = f"{run.folder.histories_dir}/{shard}.parquet"
    histories = read_table(run.storage, path)
    if PROFILE.name in histories.column_names:
        histories = histories.drop_columns([PROFILE.name])
    described = with_profiles(histories, profiles)
    write_table(run.storage, path, described, described.schema, row_group_size=USERS_PER_ROW_GROUP)
