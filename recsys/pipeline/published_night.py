"""The newest published night, opened in Python: its lists, its users and its model. See docs/python-tour.md."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from recsys.data.histories import shards_of
from recsys.errors import InputError
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.load_variants import load_variants
from recsys.ranking.config import RecommendConfig
from recsys.ranking.snapshot import Snapshot
from recsys.ranking.variants import Variants, recommend_variants
from recsys.schema import HISTORIES
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest, require_latest
from recsys.storage.lookup import KeyedFiles
from recsys.storage.runs import RunFolder

#: Seconds between the items of a history that is given without times.
_STEP_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedItem:
    """An item of a list, and what its score consists of: score = base + Σ parts + rules."""

    rank: int
    item_id: str
    title: str
    score: float
    """log P(item | user) among the candidates, and what the rules added to it or took from it."""
    source: str
    reason: str
    parts: Mapping[str, float]
    """How far each number of a signal lifts the item above the user's other candidates, in nats."""
    base: float
    """The rest of log P(item | user): the same for all items that are among the user's best candidates."""
    rules: float
    """What the rules changed; 0 where none did."""


@dataclass(frozen=True)
class PublishedNight:
    """A night that is published, opened for reading. Open it with `open_night`."""

    run: Run
    latest: Latest
    added_weights: Mapping[str, float] = field(default_factory=dict)
    """Weights by hand, see `with_weight`."""

    @property
    def model_id(self) -> str:
        """The model that made the lists."""
        return self.latest.model_id

    @cached_property
    def variants(self) -> Variants:
        """Signals and weights over the night's catalog, for each arm of its experiments; loaded at the first use."""
        loaded = load_variants(self.run, self.model_id, self._config)
        snapshots = {name: self._weighed(snapshot) for name, snapshot in loaded.snapshots.items()}
        return replace(loaded, snapshots=snapshots)

    @property
    def snapshot(self) -> Snapshot:
        """The same for users who are in no experiment."""
        return self.variants.default

    def _weighed(self, snapshot: Snapshot) -> Snapshot:
        fusion = snapshot.fusion
        return replace(snapshot, fusion=replace(fusion, weights={**fusion.weights, **self.added_weights}))

    @property
    def _config(self) -> RecommendConfig:
        return self.run.config.recommend.model_copy(update={"use_gpu": False})

    def list_of(self, user_id: str) -> pa.Table:
        """RECOMMENDATIONS of a user as they were published, best first; no rows where the user has no list."""
        return self._rows(self.latest.path, user_id)

    def history_of(self, user_id: str) -> pa.Table:
        """HISTORIES of a user: one row.

        Raises:
            InputError: the night does not know the user.
        """
        found = self._rows(self.run.folder.histories_dir, user_id)
        if not len(found):
            raise InputError(f"user {user_id!r}: not known in run {self.run.folder.run_id}")
        return found

    def history(self, item_ids: Sequence[str]) -> pa.Table:
        """HISTORIES of somebody who took these items one after the other, the last one at the end of the night's day.

        Unknown items have no effect.
        """
        num = len(item_ids)
        times = [self.run.end - dt.timedelta(seconds=_STEP_S * (num - place)) for place in range(num)]
        row = {"user_id": "", "item_ids": list(item_ids), "timestamps": times, "events": ["interaction"] * num}
        row |= {"weights": [1.0] * num, "seen_item_ids": sorted(set(item_ids))}
        return pa.Table.from_pylist([row], schema=HISTORIES)

    def recommend(self, history: pa.Table) -> list[ListedItem]:
        """The list for one row of HISTORIES, made as the night makes lists."""
        made = recommend_variants(self.variants, history, self._config)
        lifts, log_p = made.contributions.astype(np.float64), made.log_probabilities.astype(np.float64)
        places = self.snapshot.item_ids.index
        return [
            ListedItem(
                rank=row["rank"],
                item_id=row["item_id"],
                title=self.snapshot.titles[places(row["item_id"]).as_py()].as_py(),
                score=row["score"],
                source=row["source"],
                reason=row["reason"],
                parts={name: float(lift) for name, lift in zip(self.snapshot.columns, lifted, strict=True) if lift},
                base=float(own - lifted.sum()),
                rules=float(row["score"] - own),
            )
            for row, lifted, own in zip(made.lists.to_pylist(), lifts, log_p, strict=True)
        ]

    def with_weight(self, number: str, weight: float) -> "PublishedNight":
        """The same night with another weight for a number of a signal: to try it before a night fits its weight."""
        return replace(self, added_weights={**self.added_weights, number: weight})

    def _rows(self, folder: str, user_id: str) -> pa.Table:
        (shard,) = shards_of(pa.array([user_id], pa.string()), self.run.config.histories.shards)
        return KeyedFiles(self.run.storage, {shard: f"{folder}/{shard}.parquet"}, "user_id").rows(shard, user_id)


def open_night(storage: str) -> PublishedNight:
    """Open the newest published night of a storage: a folder or `s3://bucket/prefix`.

    Raises:
        InputError: nothing is published there.
    """
    root = Storage(storage)
    latest = require_latest(root)
    return PublishedNight(stored_run(RunFolder(root, latest.run_id)), latest)
