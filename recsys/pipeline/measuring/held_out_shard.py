"""The held-out events of one shard: which users are measured, what they had before, and what they took then."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import user_runs
from recsys.data.splits import Split, validation_users
from recsys.pipeline.run import Run
from recsys.pipeline.stored.shard_tables import read_interactions
from recsys.pipeline.stored.user_context import UserContext


@dataclass(frozen=True, kw_only=True)
class HeldOutShard:
    """The measured users of one shard. Warm users have interactions in training, cold users have none."""

    run: Run
    share: float
    """Of all users that is drawn."""
    interactions: pa.Table
    """INTERACTIONS of the drawn users, sorted."""
    split: Split
    context: UserContext
    wanted: pa.Table
    """TARGETS of the warm users, sorted by user."""
    past: pa.Table
    """The warm users' interactions in training."""

    @classmethod
    def read(cls, run: Run, shard: str, share: float) -> "HeldOutShard":
        """Read a shard, and draw a share of its users by hash."""
        interactions = read_interactions(run, shard)
        drawn = validation_users(interactions["user_id"], share, run.config.seed)
        interactions = interactions.filter(pa.array(drawn))
        split = run.split(interactions)
        context, exclude_seen = UserContext.read(run, shard), run.config.recommend.exclude_seen
        wanted = context.targets(split.holdout, split.train, split.holdout, run.cutoff, exclude_seen)
        past = split.train.filter(pc.is_in(split.train["user_id"], value_set=wanted["user_id"].combine_chunks()))
        return cls(
            run=run, share=share, interactions=interactions, split=split, context=context, wanted=wanted, past=past
        )

    def histories(self) -> pa.Table:
        """HISTORIES of the warm users before the holdout, in the order of `wanted`."""
        return self._histories(self.past, self.wanted)

    def num_events(self) -> npt.NDArray[np.int64]:
        """[U] interactions of each warm user in training."""
        return np.diff(user_runs(self.past)[1])

    def wanted_by_cold_users(self, most: int) -> pa.Table:
        """TARGETS of the cold users, whom a split leaves out of the holdout: of about so many at most, drawn by hash.

        The share is chosen for the warm users. In a shop of a few days nearly all held-out users are cold.
        """
        warm = pc.unique(self.split.train["user_id"])
        cold = self.interactions.filter(pc.invert(pc.is_in(self.interactions["user_id"], value_set=warm)))
        share = self.share * min(1.0, most / max(pc.count_distinct(cold["user_id"]).as_py(), 1))
        cold = cold.filter(pa.array(validation_users(cold["user_id"], share, self.run.config.seed)))
        exclude_seen = self.run.config.recommend.exclude_seen
        return self.context.targets(cold, self.split.train, self.split.holdout, self.run.cutoff, exclude_seen)

    def cold_histories(self, wanted: pa.Table) -> pa.Table:
        """HISTORIES of the cold users, without interactions, in the order of `wanted`."""
        return self._histories(self.past.slice(0, 0), wanted)

    def _histories(self, past: pa.Table, wanted: pa.Table) -> pa.Table:
        length = self.run.config.histories.kept_events
        found = self.context.histories(past, wanted["user_id"], self.split.holdout, self.run.cutoff, length)
        assert found["user_id"].equals(wanted["user_id"]), "histories and targets are of other users"
        return found
