"""What is known of the users of one shard beside their interactions, and what a stage may see of it.

These are searches, profiles, and events that are no positives. The rules are in `recsys.data.events.searches` and
`recsys.data.events.non_positives`.
"""

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.events.non_positives import rejections, with_rejections, with_seen
from recsys.data.events.searches import followed_searches, merge_searches, searches_before
from recsys.data.histories import build_histories, empty_histories
from recsys.data.profile_table import with_profiles
from recsys.data.splits import before_held_out, targets
from recsys.pipeline.run import Run
from recsys.pipeline.stored.shard_tables import read_non_positives, read_searches
from recsys.pipeline.stored.user_texts import read_profiles
from recsys.schema import TEXTS

_PAIR = ["user_id", "item_id"]


@dataclass(frozen=True, kw_only=True)
class UserContext:
    """What is known of the users of one shard beside their interactions; None where the config reads no such input."""

    searches: pa.Table | None
    """INTERACTIONS_WITH_TEXT, sorted."""
    profiles: pa.Table | None
    """PROFILES."""
    non_positives: pa.Table
    """INTERACTIONS of weight 0 or less."""
    exclude_rejected: bool
    """Whether lists leave out what their user rejected: `recommend.exclude_rejected`."""

    @classmethod
    def read(cls, run: Run, shard: str) -> "UserContext":
        """That of one shard, after `shuffle_histories`."""
        return cls(
            searches=read_searches(run, shard),
            profiles=read_profiles(run, shard),
            non_positives=read_non_positives(run, shard),
            exclude_rejected=run.config.recommend.exclude_rejected,
        )

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
                event or a profile.
            kept: Interactions on which a model is measured. A user's other events after the first of them are not read.
            cutoff: Other events from here on are not read.
            max_length: Most events of a user; the newest are kept.
        """
        non_positives = self._non_positives_before(kept, cutoff)
        merged = interactions
        if self.searches is not None:
            searches = searches_before(self.searches, kept, cutoff)
            if user_ids is not None:
                searches = searches.filter(pc.is_in(searches["user_id"], value_set=user_ids.combine_chunks()))
            merged = merge_searches(interactions, searches)
        histories = build_histories(merged, max_length)
        if user_ids is None and (len(non_positives) or self.profiles is not None):
            user_ids = self.users_of(histories, non_positives)
        if user_ids is not None:
            histories = _of_all(histories, user_ids.combine_chunks())
        if len(non_positives):
            histories = with_seen(histories, non_positives)
        if self.exclude_rejected:
            histories = with_rejections(histories, rejections(interactions, non_positives))
        return histories if self.profiles is None else with_profiles(histories, self.profiles)

    def users_of(self, *tables: pa.Table) -> pa.ChunkedArray:
        """Ids of the users in the column `user_id` of some tables, and of those with a profile, sorted."""
        known = tables if self.profiles is None else (*tables, self.profiles)
        ids = [chunk for table in known for chunk in table["user_id"].chunks]
        return pa.chunked_array([pc.unique(pa.chunked_array(ids, pa.string())).sort()])

    def targets(
        self, holdout: pa.Table, known: pa.Table, kept: pa.Table, cutoff: dt.datetime, exclude_seen: bool
    ) -> pa.Table:
        """TARGETS of the users of ``holdout`` that a list may contain.

        Args:
            holdout: Interactions that a list should predict, sorted.
            known: Interactions that were there before.
            kept: As in `histories`.
            cutoff: As in `histories`.
            exclude_seen: Whether the lists leave out what was seen.
        """
        non_positives = self._non_positives_before(kept, cutoff)
        left_out = known
        if exclude_seen:
            left_out = pa.concat_tables([part.select(_PAIR) for part in (known, non_positives)])
        elif self.exclude_rejected:
            left_out = rejections(known, non_positives)
        return targets(holdout, left_out, exclude_seen or self.exclude_rejected)

    def windowed(self, interactions: pa.Table) -> pa.Table:
        """Interactions to learn, with the searches before them that led to them."""
        if self.searches is None:
            return interactions
        return merge_searches(interactions, followed_searches(self.searches, interactions))

    def _non_positives_before(self, kept: pa.Table, cutoff: dt.datetime) -> pa.Table:
        return before_held_out(self.non_positives, kept, cutoff, and_at_once=False)


def _of_all(histories: pa.Table, user_ids: pa.Array) -> pa.Table:
    """Histories of these users, in their order; a user without one gets an empty one."""
    missing = user_ids.filter(pc.invert(pc.is_in(user_ids, value_set=histories["user_id"].combine_chunks())))
    if len(missing):
        empty = empty_histories(missing)
        if "texts" in histories.column_names:
            empty = empty.append_column(TEXTS, pa.array([[]] * len(missing), TEXTS.type))
        histories = pa.concat_tables([histories, empty])
    return histories.take(pc.index_in(user_ids, value_set=histories["user_id"].combine_chunks()))
