"""Ranks requests with the model of one snapshot. All uses of `Snapshot` in the live service are in this file.

Shapes: B requests, I items, X items of the longest published list.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.model.features import UserTexts, index_items
from recsys.model.text_encoder import TextEncoder
from recsys.ranking.config import RecommendConfig
from recsys.ranking.constraints import RequestConstraints
from recsys.ranking.snapshot import Snapshot
from recsys.ranking.variants import Variants, recommend_variants
from recsys.serving.resolved_request import ResolvedRequest
from recsys.serving.sessions import session_histories

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SnapshotRanker:
    """A loaded model, and how it is applied to requests."""

    variants: Variants
    config: RecommendConfig
    encoder: TextEncoder
    """Encodes searches and profiles that the nightly run did not encode."""
    max_events: int
    """The newest events of a history that the model reads."""

    @property
    def snapshot(self) -> Snapshot:
        """What users are ranked by who are in no experiment."""
        return self.variants.default

    @property
    def reads_user_texts(self) -> bool:
        """Whether the model reads what users say and what they are."""
        return self.snapshot.reads_texts

    def example_item(self) -> str | None:
        """The id of an item that may be recommended; None where there is none."""
        first = np.flatnonzero(self.snapshot.recommendable)[:1]
        return self.snapshot.item_ids[int(first[0])].as_py() if len(first) else None

    def rank(
        self, requests: Sequence[ResolvedRequest], published: Sequence[Ints], top_k: int, now: dt.datetime
    ) -> list[pa.Table]:
        """RECOMMENDATIONS of each of B requests, made by the same code as the nightly lists.

        Args:
            requests: What is ranked together.
            published: For each request the catalog indices of its user's published list. They become candidates too.
            top_k: The length of all lists.
            now: The time of the requests.
        """
        histories = session_histories([request.session for request in requests], now, self.max_events)
        histories = histories.set_column(0, "user_id", pa.array([request.draw_key for request in requests]))
        config = self.config.model_copy(update={"top_k": top_k, "candidates": max(self.config.candidates, top_k)})
        constraints = RequestConstraints(
            excluded=np.stack([request.excluded for request in requests]),
            also=_padded(published),
            searching=np.array([bool(request.session.query) for request in requests]),
            asked=np.full(len(requests), now.timestamp() * 1e6),
        )
        variants = self.variants.with_texts(self._texts_of(histories))
        user_ids = pa.array([request.session.user_id for request in requests])
        ranked = recommend_variants(variants, histories, config, constraints, user_ids)
        bounds = np.searchsorted(ranked.users, np.arange(len(requests) + 1))
        return [ranked.lists.slice(start, stop - start) for start, stop in pairwise(bounds.tolist())]

    def _texts_of(self, histories: pa.Table) -> UserTexts:
        """All texts of these histories with their vectors. Only texts that the nightly run did not encode cost time."""
        used = {*histories["texts"].combine_chunks().flatten().to_pylist(), *histories["profile"].to_pylist()} - {""}
        if not used:
            return UserTexts.none()
        texts = pa.array(sorted(used), pa.string())
        stored = self.snapshot.texts
        rows = index_items(texts, stored.texts)
        known, new = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        vectors = np.zeros((len(texts), self.encoder.dim), dtype=np.float32)
        if len(known):
            vectors[known] = stored.vectors[rows[known]]
        if len(new):
            vectors[new] = self.encoder.encode(texts.take(pa.array(new)).to_pylist())
        return UserTexts(texts=texts, vectors=vectors)


def _padded(rows: Sequence[Ints]) -> Ints:
    """[B, X] the rows, filled up with −1."""
    padded = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded
