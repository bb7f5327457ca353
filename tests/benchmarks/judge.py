"""Judges lists against the withheld truth of a case, with the metrics of recsys.

Lists are frames of user_id, rank (1 = best), item_id. Shapes: U users with a truth, K = 10.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.data.item_counts import head_items
from recsys.evaluation.measure import exposure, hits_matrix
from recsys.evaluation.metrics.coverage import Coverage
from recsys.evaluation.metrics.hitrate import HitRate
from recsys.evaluation.metrics.ndcg import Ndcg

K = 10


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The metrics of lists, per user where intervals are needed."""

    ndcg: np.ndarray
    """[U]."""
    hitrate: np.ndarray
    """[U]."""
    tail_ndcg: np.ndarray
    """[T] counting only targets outside the head, for users who have such a target."""
    coverage: float
    """Share of the catalog that is in at least one list of these users."""

    def means(self) -> dict[str, float]:
        """The mean of each metric."""
        return {
            "ndcg@10": float(self.ndcg.mean()),
            "hitrate@10": float(self.hitrate.mean()),
            "coverage@10": self.coverage,
            "tail_ndcg@10": float(self.tail_ndcg.mean()) if len(self.tail_ndcg) else float("nan"),
        }


class Question:
    """A case prepared for judging: users, items and targets as numbers."""

    def __init__(self, events: pd.DataFrame, items: pd.DataFrame, truth: pd.DataFrame, exclude_seen: bool):
        self.item_ids = np.sort(items.item_id.to_numpy(dtype=object))
        self.user_ids = np.unique(truth.user_id.to_numpy(dtype=object))
        self.truth, self.exclude_seen = truth, exclude_seen
        counts = events.item_id.value_counts().reindex(self.item_ids, fill_value=0).to_numpy()
        self.in_tail = ~head_items(counts)
        seen = events[events.user_id.isin(set(self.user_ids))].drop_duplicates(["user_id", "item_id"])
        self.num_seen = seen.user_id.value_counts().reindex(self.user_ids, fill_value=0).to_numpy()

    @classmethod
    def of(cls, split: Path, case: str) -> "Question":
        """Read a case that `cases.write_split` wrote."""
        events, items = (pd.read_parquet(split / f"{name}.parquet") for name in ("events", "items"))
        truth = pd.read_parquet(split / case / "truth.parquet")
        return cls(events, items, truth, json.loads((split / case / "case.json").read_text())["exclude_seen"])

    def judge(self, lists: pd.DataFrame) -> Judged:
        """Judge lists. A user without a list gets zeros."""
        top = self._grid(lists)
        indptr, targets = self._relevant(np.ones(len(self.item_ids), dtype=bool))
        hits, number = hits_matrix(top, indptr, targets), np.diff(indptr)
        tail_indptr, tail_targets = self._relevant(self.in_tail)
        tail_hits, tail_number = hits_matrix(top, tail_indptr, tail_targets), np.diff(tail_indptr)
        return Judged(
            ndcg=Ndcg().values(hits, number, K),
            hitrate=HitRate().values(hits, number, K),
            tail_ndcg=Ndcg().values(tail_hits, tail_number, K)[tail_number > 0],
            coverage=Coverage().value(exposure(top, len(self.item_ids))),
        )

    def random_ndcg(self) -> float:
        """The expected NDCG@10 of random lists."""
        indptr, _ = self._relevant(np.ones(len(self.item_ids), dtype=bool))
        number = np.diff(indptr)
        drawn_from = len(self.item_ids) - (self.num_seen if self.exclude_seen else 0)
        discounts = 1 / np.log2(np.arange(2, K + 2))
        ideal = np.cumsum(discounts)[np.minimum(number, K) - 1]
        return float((number / drawn_from * discounts.sum() / ideal).mean())

    def _relevant(self, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        users = np.searchsorted(self.user_ids, self.truth.user_id.to_numpy(dtype=object))
        items = np.searchsorted(self.item_ids, self.truth.item_id.to_numpy(dtype=object))
        kept = among[items]
        order = np.argsort(users[kept], kind="stable")
        counts = np.bincount(users[kept], minlength=len(self.user_ids))
        return np.concatenate([[0], np.cumsum(counts)]), items[kept][order]

    def _grid(self, lists: pd.DataFrame) -> np.ndarray:
        lists = lists[(lists["rank"] <= K) & lists.user_id.isin(set(self.user_ids))]
        assert not lists.duplicated(["user_id", "rank"]).any(), "a list has a rank twice"
        assert not lists.duplicated(["user_id", "item_id"]).any(), "a list has an item twice"
        users = np.searchsorted(self.user_ids, lists.user_id.to_numpy(dtype=object))
        items = lists.item_id.to_numpy(dtype=object)
        places = np.minimum(np.searchsorted(self.item_ids, items), len(self.item_ids) - 1)
        assert (self.item_ids[places] == items).all(), "a list has an item that is not in the catalog"
        top = np.full((len(self.user_ids), K), -1, dtype=np.int64)
        top[users, lists["rank"].to_numpy(dtype=np.int64) - 1] = places
        return top
