"""One published run, loaded: it answers requests with the published list, or ranks a new list.

Shapes: B requests.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from recsys.data.assignment import DEFAULT_VARIANT
from recsys.serving.contracts import FoundItem, RecommendationRequest, Recommendations, RecommendedItem, Strategy
from recsys.serving.live_catalog import LiveCatalog
from recsys.serving.published_users import PublishedUsers
from recsys.serving.resolved_request import ResolvedRequest, resolve_request
from recsys.serving.snapshot_ranker import SnapshotRanker
from recsys.serving.user_template import UserTemplate
from recsys.storage.latest import Latest


@dataclass(frozen=True, kw_only=True)
class LiveSnapshot:
    """A published run in memory. Each answer is of this run alone, also while a newer run is being loaded."""

    latest: Latest
    catalog: LiveCatalog
    users: PublishedUsers
    ranker: SnapshotRanker
    user_template: UserTemplate | None
    """None: the model reads no user attributes."""
    event_weights: Mapping[str, float]
    """Weights of the kinds of events, as the run had them: `inputs.event_weights`."""

    def answer(self, requests: Sequence[RecommendationRequest], now: dt.datetime) -> list[Recommendations]:
        """A list for each of B requests. Unknown ids are left out with a warning; no request is refused.

        Args:
            requests: Of any strategy. Their filters must have passed `LiveCatalog.filter_error`.
            now: The time of the requests, and of events without a timestamp.
        """
        resolved = [
            resolve_request(request, self.catalog, self.users, self.user_template, self.event_weights)
            for request in requests
        ]
        answers = {row: self._published_answer(request, now) for row, request in enumerate(resolved)}
        unanswered = sorted(
            (row for row in answers if answers[row] is None), key=lambda row: self._length(resolved[row])
        )
        for top_k, group in groupby(unanswered, key=lambda row: self._length(resolved[row])):
            rows = list(group)
            answers.update(zip(rows, self._ranked_answers([resolved[row] for row in rows], top_k, now), strict=True))
        return [answer for answer in answers.values() if answer is not None]

    def published_list(self, user_id: str, top_k: int | None, now: dt.datetime) -> Recommendations | None:
        """The first `top_k` items of a user's published list; None for a user whom the run did not know."""
        rows = self.users.list_of(user_id)
        return self._reply(rows.slice(0, top_k), "precomputed", [], now) if len(rows) else None

    def published_fallback(
        self, request: RecommendationRequest, warning: str, now: dt.datetime
    ) -> Recommendations | None:
        """The published list without what the request excludes, has in its history or filters; None where none is left.

        Args:
            request: Of a named user; its history, query and attributes do not change the order.
            warning: What the reply says.
            now: The time of the request.
        """
        if request.user_id is None or self.catalog.filter_error(request.filters) is not None:
            return None
        rows = self.users.list_of(request.user_id)
        left_out = np.isin(
            rows["item_id"].to_pylist(), [*request.exclude, *(event.item_id for event in request.history)]
        )
        if request.filters:
            left_out |= ~self.catalog.passing(request.filters)[self.catalog.indices(rows["item_id"])]
        kept = rows.filter(pa.array(~left_out)).slice(0, request.k or self.ranker.config.top_k)
        return self._reply(kept, "precomputed", [warning], now) if len(kept) else None

    def find_items(self, text: str, limit: int) -> list[FoundItem]:
        """Items whose title contains every word of a text, shortest title first."""
        return [FoundItem(item_id=item_id, title=title) for item_id, title in self.catalog.search_titles(text, limit)]

    def _published_answer(self, request: ResolvedRequest, now: dt.datetime) -> Recommendations | None:
        """The published list without the excluded items; None where a list has to be ranked."""
        if request.needs_ranking:
            return None
        rows = self.users.list_of(request.session.user_id)
        kept = rows.filter(pa.array(~request.excluded[self.catalog.indices(rows["item_id"])]))
        length = self._length(request)
        if len(kept) < length and (len(kept) < len(rows) or length > self.ranker.config.top_k):
            return None  # the published list is too short; a new list fills the free places
        return self._reply(kept.slice(0, length), "precomputed", request.warnings, now)

    def _ranked_answers(
        self, requests: Sequence[ResolvedRequest], top_k: int, now: dt.datetime
    ) -> list[Recommendations]:
        """New lists of one length."""
        none = np.empty(0, np.int64)
        published = [
            none
            if request.session.stored is None
            else self.catalog.indices(self.users.list_of(request.session.user_id)["item_id"])
            for request in requests
        ]
        lists = self.ranker.rank(requests, published, top_k, now)
        return [
            self._reply(rows, request.strategy, request.warnings, now)
            for request, rows in zip(requests, lists, strict=True)
        ]

    def _reply(self, rows: pa.Table, strategy: Strategy, warnings: list[str], now: dt.datetime) -> Recommendations:
        titles = self.catalog.titles_of(rows["item_id"])
        items = [
            RecommendedItem(
                item_id=row["item_id"],
                rank=rank,
                score=row["score"],
                title=title,
                reason=row["reason"],
                source=row["source"],
            )
            for rank, (row, title) in enumerate(zip(rows.to_pylist(), titles, strict=True), 1)
        ]
        age = now - dt.datetime.fromisoformat(self.latest.published_at)
        return Recommendations(
            items=items,
            strategy=strategy,
            variant=rows["variant"][0].as_py() if len(rows) else DEFAULT_VARIANT,
            run_id=self.latest.run_id,
            model_id=self.latest.model_id,
            snapshot_age_s=round(age.total_seconds(), 3),
            warnings=warnings,
        )

    def _length(self, request: ResolvedRequest) -> int:
        return request.request.k or self.ranker.config.top_k
