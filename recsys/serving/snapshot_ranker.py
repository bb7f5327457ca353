"""Ranks requests with the model of one snapshot. All uses of `Snapshot` in the live service are in this file.

Shapes: B requests, I items, X items of the longest published list.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.model.features import UserTexts, index_catalog
from recsys.model.text_encoder import TextEncoder
from recsys.ranking.config import RecommendConfig
from recsys.ranking.constraints import RequestConstraints
from recsys.ranking.lists import Recommended
from recsys.ranking.similar_items import of_related_items, similar_items
from recsys.ranking.snapshot import Snapshot
from recsys.ranking.variants import Variants, recommend_variants
from recsys.serving.resolved_request import ResolvedRequest, ResolvedVisitor
from recsys.serving.sessions import session_histories

Bools = npt.NDArray[np.bool_]
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
        constraints = _constraints(
            requests, now, excluded=np.stack([request.excluded for request in requests]), also=_padded(published)
        )
        return self._lists(requests, constraints, top_k, now)

    def rank_candidates(
        self, visitors: Sequence[ResolvedVisitor], candidates: Ints, now: dt.datetime
    ) -> list[pa.Table]:
        """RECOMMENDATIONS of the candidates of each of B requests: all of them, also what a list would leave out.

        Args:
            visitors: Of the requests.
            candidates: [B, C] catalog indices, ascending, C ≥ 1.
            now: The time of the requests.
        """
        excluded = np.zeros((len(visitors), len(self.snapshot.item_ids)), dtype=bool)
        constraints = _constraints(visitors, now, excluded, np.zeros((len(visitors), 0), dtype=np.int64), candidates)
        return self._lists(visitors, constraints, candidates.shape[1], now)

    def explain(self, histories: pa.Table) -> Recommended:
        """The nightly lists of stored histories, ranked again, with what each number contributes."""
        return recommend_variants(self.variants, histories, self.config)

    def by_signal(self, contributions: npt.NDArray[np.float32]) -> dict[str, float]:
        """The contributions [S] of the numbers of an item, added for each signal."""
        return {name: round(float(contributions[part].sum()), 4) + 0.0 for name, part in self.snapshot.slices.items()}

    @cached_property
    def _related(self) -> Snapshot:
        return of_related_items(self.snapshot)

    def similar(self, item: int, top_k: int) -> pa.Table:
        """SIMILAR_ITEMS of one item of the catalog, by its index, made by the same code as the nightly table."""
        return similar_items(self._related, np.array([item]), self.config, top_k)

    def _lists(
        self, visitors: Sequence[ResolvedVisitor], constraints: RequestConstraints, top_k: int, now: dt.datetime
    ) -> list[pa.Table]:
        histories = session_histories([visitor.session for visitor in visitors], now, self.max_events)
        histories = histories.set_column(0, "user_id", pa.array([visitor.draw_key for visitor in visitors]))
        config = self.config.model_copy(update={"top_k": top_k, "candidates": max(self.config.candidates, top_k)})
        variants = self.variants.with_texts(self._texts_of(histories))
        user_ids = pa.array([visitor.session.user_id for visitor in visitors])
        ranked = recommend_variants(variants, histories, config, constraints, user_ids)
        bounds = np.searchsorted(ranked.users, np.arange(len(visitors) + 1))
        return [ranked.lists.slice(start, stop - start) for start, stop in pairwise(bounds.tolist())]

    def _texts_of(self, histories: pa.Table) -> UserTexts:
        """All texts of these histories with their vectors. Only texts that the nightly run did not encode cost time."""
        used = {*histories["texts"].combine_chunks().flatten().to_pylist(), *histories["profile"].to_pylist()} - {""}
        if not used:
            return UserTexts.none()
        texts = pa.array(sorted(used), pa.string())
        stored = self.snapshot.texts
        rows = index_catalog(texts, stored.texts)
        known, new = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        vectors = np.zeros((len(texts), self.encoder.dim), dtype=np.float32)
        if len(known):
            vectors[known] = stored.vectors[rows[known]]
        if len(new):
            vectors[new] = self.encoder.encode(texts.take(pa.array(new)).to_pylist())
        return UserTexts(texts=texts, vectors=vectors)


def _constraints(
    visitors: Sequence[ResolvedVisitor], now: dt.datetime, excluded: Bools, also: Ints, candidates: Ints | None = None
) -> RequestConstraints:
    """The constraints of B requests, whose arguments are those of `RequestConstraints`."""
    return RequestConstraints(
        excluded=excluded,
        also=also,
        candidates=candidates,
        searching=np.array([bool(visitor.session.query) for visitor in visitors]),
        asked=np.full(len(visitors), now.timestamp() * 1e6),
    )


def _padded(rows: Sequence[Ints]) -> Ints:
    """[B, X] the rows, filled up with −1."""
    padded = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded
