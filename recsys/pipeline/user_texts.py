"""Texts of the users of one shard: their profiles and their searches, and which of them a stage may read.

`recsys.data.searches` has the rules for searches.
"""

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import build_histories
from recsys.data.profile_table import with_profiles
from recsys.data.searches import followed_searches, merge_searches, searches_before
from recsys.data.texts import hash_texts
from recsys.evaluation.slices import empty_histories
from recsys.pipeline.run import Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.schema import CATALOG, PROFILES, TEXTS
from recsys.storage.tables import read_table, write_table


@dataclass(frozen=True, kw_only=True)
class ShardTexts:
    """Texts of the users of one shard; None for inputs that the config does not read."""

    searches: pa.Table | None
    """INTERACTIONS_WITH_TEXT, sorted."""
    profiles: pa.Table | None
    """PROFILES."""

    @classmethod
    def read(cls, run: Run, shard: str) -> "ShardTexts":
        """The texts of one shard, after `shuffle_histories`."""
        searches = None
        if run.config.inputs.events.columns.text is not None:
            searches = read_table(run.storage, f"{run.searches_dir}/{shard}.parquet")
        return cls(searches=searches, profiles=read_profiles(run, shard))

    def histories(
        self,
        interactions: pa.Table,
        user_ids: pa.ChunkedArray | None,
        kept: pa.Table,
        cutoff: dt.datetime,
        max_length: int,
    ) -> pa.Table:
        """HISTORIES of some users, by user id.

        Args:
            interactions: Those that may be read, sorted.
            user_ids: The users, sorted; a user without readable events gets an empty history. None: all users with an
                interaction or a search.
            kept: Interactions on which a model is measured. A user's searches after the first of them are not read.
            cutoff: Searches from here on are not read.
            max_length: Most events of a user; the newest are kept.
        """
        if self.searches is not None:
            searches = searches_before(self.searches, kept, cutoff)
            if user_ids is not None:
                searches = searches.filter(pc.is_in(searches["user_id"], value_set=user_ids.combine_chunks()))
            interactions = merge_searches(interactions, searches)
        histories = build_histories(interactions, max_length)
        if user_ids is not None:
            histories = _of_all(histories, user_ids.combine_chunks())
        return histories if self.profiles is None else with_profiles(histories, self.profiles)

    def windowed(self, interactions: pa.Table) -> pa.Table:
        """Interactions to learn, with the searches before them that led to them."""
        if self.searches is None:
            return interactions
        return merge_searches(interactions, followed_searches(self.searches, interactions))


def read_profiles(run: Run, shard: str) -> pa.Table | None:
    """PROFILES of a shard; None if users are not read. A shard without users has no file."""
    if run.config.inputs.users is None:
        return None
    path = f"{run.profiles_dir}/{shard}.parquet"
    return read_table(run.storage, path) if run.storage.exists(path) else PROFILES.empty_table()


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
    texts = pc.unique(pa.concat_tables(parts)["text"]).sort()
    return pa.table([texts, hash_texts(texts)], schema=pa.schema([CATALOG.field("text"), CATALOG.field("text_hash")]))


def _of_all(histories: pa.Table, user_ids: pa.Array) -> pa.Table:
    """Histories of these users, in their order; a user without one gets an empty one."""
    missing = user_ids.filter(pc.invert(pc.is_in(user_ids, value_set=histories["user_id"].combine_chunks())))
    if len(missing):
        empty = empty_histories(missing)
        if "texts" in histories.column_names:
            empty = empty.append_column(TEXTS, pa.array([[]] * len(missing), TEXTS.type))
        histories = pa.concat_tables([histories, empty])
    return histories.take(pc.index_in(user_ids, value_set=histories["user_id"].combine_chunks()))


def _folder(run: Run) -> str:
    return f"{run.folder.dir}/user_texts"
