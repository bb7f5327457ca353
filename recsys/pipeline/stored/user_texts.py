"""Texts of users: the profiles of a shard, and the distinct texts that the encoder reads."""

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.texts import hash_texts
from recsys.pipeline.run import Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.schema import CATALOG, PROFILES
from recsys.storage.tables import read_table, write_table


def read_profiles(run: Run, shard: str) -> pa.Table | None:
    """PROFILES of a shard after all stages that describe users; None if none of them applies."""
    if not run.config.writes_profiles:
        return read_input_profiles(run, shard)
    return read_table(run.storage, f"{run.user_profiles_dir}/{shard}.parquet", PROFILES.names)


def read_until(run: Run, shard: str) -> pa.Table | None:
    """`user_id` and `until` of the users of a shard whose written profile has read events; None if none is written."""
    if not run.config.writes_profiles:
        return None
    profiles = read_table(run.storage, f"{run.user_profiles_dir}/{shard}.parquet", ["user_id", "until"])
    return profiles.filter(pc.is_valid(profiles["until"]))


def read_input_profiles(run: Run, shard: str) -> pa.Table | None:
    """PROFILES of a shard as the input has them; None if users are not read. A shard without users has no file."""
    if run.config.inputs.users is None:
        return None
    path = f"{run.profiles_dir}/{shard}.parquet"
    return read_table(run.storage, path) if run.storage.exists(path) else PROFILES.empty_table()


def profile_shards(run: Run) -> list[int]:
    """Numbers of the shards with PROFILES, ascending."""
    if run.config.inputs.users is None:
        return []
    return sorted(
        int(name.removeprefix("shard-").removesuffix(".parquet")) for name in run.storage.list(run.profiles_dir)
    )


def write_texts(run: Run, shard: str, events: pa.Table, histories: pa.Table) -> None:
    """Write the distinct texts of one shard for the encoder: those of its events and of its users."""
    columns = [events["text"]] if "text" in events.column_names else []
    columns += [histories["profile"]] if "profile" in histories.column_names else []
    texts = pc.unique(pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()))
    table = pa.table([texts.filter(pc.not_equal(texts, ""))], schema=pa.schema([CATALOG.field("text")]))
    write_table(run.storage, f"{_folder(run)}/{shard}.parquet", table, table.schema)


def read_user_texts(run: Run) -> pa.Table:
    """The distinct texts of all users and events, sorted, with their `text_hash`; no row if none are read."""
    parts = [pa.schema([CATALOG.field("text")]).empty_table()]
    if run.config.inputs.has_user_texts:
        shards = run.record(SHUFFLE_HISTORIES).shards
        parts += [read_table(run.storage, f"{_folder(run)}/{shard}.parquet") for shard in shards]
    if run.config.writes_profiles:
        shards = run.record(SHUFFLE_HISTORIES).shards
        written = [read_table(run.storage, f"{run.user_profiles_dir}/{shard}.parquet", ["profile"]) for shard in shards]
        parts += [table.rename_columns(["text"]) for table in written]
    texts = pc.unique(pa.concat_tables(parts)["text"]).sort()
    return pa.table([texts, hash_texts(texts)], schema=pa.schema([CATALOG.field("text"), CATALOG.field("text_hash")]))


def _folder(run: Run) -> str:
    return f"{run.folder.dir}/user_texts"
