"""What the users of one shard are and said, beside their interactions: what each stage may read of it.

The rules of what may be read are in `recsys.data.searches`; it knows no vectors.
"""

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import build_histories
from recsys.data.searches import merge_searches, searches_before, searches_that_led_on
from recsys.data.texts import hash_texts
from recsys.data.user_table import with_profiles
from recsys.evaluation.slices import empty_histories
from recsys.pipeline.run import Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.schema import CATALOG, PROFILES, TEXTS
from recsys.storage.tables import read_table, write_table


@dataclass(frozen=True, kw_only=True)
class ShardTexts:
    """Texts of one shard's users; None for what is not read on this night."""

    searches: pa.Table | None
    """INTERACTIONS_WITH_TEXT, sorted."""
    profiles: pa.Table | None
    """PROFILES."""

    @classmethod
    def read(cls, run: Run, shard: str) -> "ShardTexts":
        """Of a finished `shuffle_histories`."""
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
            interactions: Theirs that may be read, sorted.
            user_ids: Who they are, sorted; a user of whom nothing may be read has an empty history. None: whoever has
                an interaction or a search.
            kept: Interactions on which a model is measured: no user's search after the first of them is read.
            cutoff: No search from there on is read.
            max_length: Newest events of a user.
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
        """Interactions to learn, with the searches that led to them."""
        if self.searches is None:
            return interactions
        return merge_searches(interactions, searches_that_led_on(self.searches, interactions))


def read_profiles(run: Run, shard: str) -> pa.Table | None:
    """PROFILES of a shard, none where users are not read; a shard may have no file, as ids alone choose it."""
    if run.config.inputs.users is None:
        return None
    path = f"{run.profiles_dir}/{shard}.parquet"
    return read_table(run.storage, path) if run.storage.exists(path) else PROFILES.empty_table()


def write_texts(run: Run, shard: str, events: pa.Table, histories: pa.Table) -> None:
    """Keep the distinct texts of one shard for the encoder: what was said at all events, and what their users are."""
    columns = [events["text"]] if "text" in events.column_names else []
    columns += [histories["profile"]] if "profile" in histories.column_names else []
    texts = pc.unique(pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()))
    table = pa.table([texts.filter(pc.not_equal(texts, ""))], schema=pa.schema([CATALOG.field("text")]))
    write_table(run.storage, f"{_folder(run)}/{shard}.parquet", table, table.schema)


def read_user_texts(run: Run) -> pa.Table:
    """Distinct texts of the night's users, sorted, with their `text_hash`; no row where none are read."""
    parts = [pa.schema([CATALOG.field("text")]).empty_table()]
    if run.config.inputs.has_user_texts:
        shards = run.record(SHUFFLE_HISTORIES).shards
        parts += [read_table(run.storage, f"{_folder(run)}/{shard}.parquet") for shard in shards]
    texts = pc.unique(pa.concat_tables(parts)["text"]).sort()
    return pa.table([texts, hash_texts(texts)], schema=pa.schema([CATALOG.field("text"), CATALOG.field("text_hash")]))


def _of_all(histories: pa.Table, user_ids: pa.Array) -> pa.Table:
    """Histories of these users, in their order, empty ones of those that have none."""
    missing = user_ids.filter(pc.invert(pc.is_in(user_ids, value_set=histories["user_id"].combine_chunks())))
    if len(missing):
        empty = empty_histories(missing)
        if "texts" in histories.column_names:
            empty = empty.append_column(TEXTS, pa.array([[]] * len(missing), TEXTS.type))
        histories = pa.concat_tables([histories, empty])
    return histories.take(pc.index_in(user_ids, value_set=histories["user_id"].combine_chunks()))


def _folder(run: Run) -> str:
    return f"{run.folder.dir}/user_texts"
