"""One published run, loaded: it answers requests with the published list, or ranks a new list.

Shapes: B requests.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.assignment import DEFAULT_VARIANT
from recsys.schema import RECOMMENDATIONS
from recsys.serving.contracts import (
    RankedCandidates,
    RankRequest,
    RecommendationRequest,
    Recommendations,
    RecommendedItem,
    Strategy,
    Visitor,
)
from recsys.serving.live_catalog import LiveCatalog
from recsys.serving.look_up_replies import ExplainedItem, ExplainedUser, FoundItem, PastEvent, SimilarItems
from recsys.serving.published_users import PublishedUsers
from recsys.serving.query_reader import QueryReader, ReadQuery
from recsys.serving.resolved_request import ResolvedRequest, ResolvedVisitor, resolve_request, resolve_visitor
from recsys.serving.snapshot_ranker import SnapshotRanker
from recsys.serving.timely_rows import UnreadableError
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
    num_similar: int
    """Similar items of an item where a request does not say, as the run has it: `similar_items.top_k`."""
    expires_at: npt.NDArray[np.int64] | None
    """[I] microseconds since 1970 at which the items expire, by `rerank.expiry`; None: no item does."""
    queries: QueryReader | None
    """None: searches are read as they are."""

    def answer(self, requests: Sequence[RecommendationRequest], now: dt.datetime) -> list[Recommendations]:
        """A list for each of B requests. Unknown ids are left out with a warning; no request is refused.

        Args:
            requests: Of any strategy. Their filters must have passed `LiveCatalog.filter_error`.
            now: The time of the requests, and of events without a timestamp.
        """
        resolved = [
            resolve_request(request, visitor, self.catalog)
            for request, visitor in zip(requests, self._visitors(requests), strict=True)
        ]
        if self.expires_at is not None:
            expired = self.expires_at <= now.timestamp() * 1e6
            resolved = [replace(request, excluded=request.excluded | expired) for request in resolved]
        answers = {row: self._published_answer(request, now) for row, request in enumerate(resolved)}
        unanswered = sorted(
            (row for row in answers if answers[row] is None), key=lambda row: self._length(resolved[row])
        )
        for top_k, group in groupby(unanswered, key=lambda row: self._length(resolved[row])):
            rows = list(group)
            answers.update(zip(rows, self._ranked_answers([resolved[row] for row in rows], top_k, now), strict=True))
        return [answer for answer in answers.values() if answer is not None]

    def rank(self, requests: Sequence[RankRequest], now: dt.datetime) -> list[RankedCandidates]:
        """The candidates of each of B requests in their order. No candidate of the catalog is left out.

        Args:
            requests: Requests with any numbers of candidates.
            now: The time of the requests, and of events without a timestamp.
        """
        visitors = self._visitors(requests)
        named = [list(dict.fromkeys(request.candidates)) for request in requests]
        indices = [self.catalog.indices(pa.array(ids, pa.string())) for ids in named]
        rows_of_length: dict[int, list[int]] = {}
        for row, found in enumerate(indices):
            rows_of_length.setdefault(int((found >= 0).sum()), []).append(row)
        answers: dict[int, RankedCandidates] = {}
        for length, rows in rows_of_length.items():  # so a list does not depend on the others of the batch
            candidates = np.stack([np.sort(indices[row])[len(indices[row]) - length :] for row in rows])
            lists = [RECOMMENDATIONS.empty_table()] * len(rows)
            if length:
                lists = self.ranker.rank_candidates([visitors[row] for row in rows], candidates, now)
            for row, ranked in zip(rows, lists, strict=True):
                unknown = [name for name, index in zip(named[row], indices[row], strict=True) if index < 0]
                reply = self._reply(ranked, visitors[row].strategy, visitors[row].warnings, now)
                shared = {name: value for name, value in reply if name in RankedCandidates.model_fields}
                answers[row] = RankedCandidates(unknown=unknown, **shared)
        return [answers[row] for row in range(len(requests))]

    def similar(self, item_id: str, top_k: int | None, now: dt.datetime) -> SimilarItems | None:
        """The items that go with an item; None where the catalog does not have the item.

        Args:
            item_id: Of any item of the catalog, also of one that is not recommended.
            top_k: Their number; None: that of the nightly table.
            now: The time of the request.
        """
        index = int(self.catalog.indices(pa.array([item_id], pa.string()))[0])
        if index < 0:
            return None
        found = self.ranker.similar(index, top_k or self.num_similar)
        rows = self._valid(found.drop_columns("item_id").rename_columns({"similar_item_id": "item_id"}), now)
        item = FoundItem(item_id=item_id, title=self.catalog.titles.take(pa.array([index]))[0].as_py())
        return SimilarItems(
            item=item,
            items=self._items(rows),
            run_id=self.latest.run_id,
            model_id=self.latest.model_id,
            snapshot_age_s=self._age_s(now),
        )

    def explain_user(self, user_id: str, now: dt.datetime) -> ExplainedUser | None:
        """What the run knows of a user, and why the list is as it is; None for a user whom the run did not know.

        Raises:
            UnreadableError: what the run knows cannot be read now.
        """
        stored = self.users.stored(user_id)
        if not len(stored):
            return None
        explained = self.ranker.explain(stored)
        reply = self._reply(explained.lists, "precomputed", [], now)
        items = [
            ExplainedItem(**dict(item), contributions=self.ranker.by_signal(contributions))
            for item, contributions in zip(reply.items, explained.contributions, strict=True)
        ]
        row = stored.to_pylist()[0]
        events = [event for event in zip(row["item_ids"], row["events"], row["timestamps"], strict=True) if event[0]]
        indices = self.catalog.indices(pa.array([item for item, _, _ in events], pa.string()))
        titles = self.catalog.titles.take(pa.array(np.maximum(indices, 0))).to_pylist() if len(self.catalog) else []
        history = [
            PastEvent(item_id=item, title=title if index >= 0 else item, event=event, timestamp=timestamp)
            for (item, event, timestamp), title, index in zip(events, titles, indices.tolist(), strict=True)
        ]
        return ExplainedUser(
            user_id=user_id,
            history=history[::-1],
            items=items,
            run_id=reply.run_id,
            model_id=reply.model_id,
            snapshot_age_s=reply.snapshot_age_s,
        )

    def published_list(self, user_id: str, top_k: int | None, now: dt.datetime) -> Recommendations | None:
        """The first `top_k` items of a user's published list; None for a user without one.

        Raises:
            UnreadableError: it cannot be read now.
        """
        rows = self._valid(self.users.list_of(user_id), now)
        return self._reply(rows.slice(0, top_k), "precomputed", [], now) if len(rows) else None

    def published_fallback(
        self, request: RecommendationRequest, warning: str, now: dt.datetime
    ) -> Recommendations | None:
        """The published list without what the request excludes, has in its history or filters; None where none is left.

        Args:
            request: Of a named user; its history, query and attributes do not change the order.
            warning: What the reply says.
            now: The time of the request.

        Raises:
            UnreadableError: the list cannot be read now.
        """
        if request.user_id is None or self.catalog.filter_error(request.filters) is not None:
            return None
        rows = self._valid(self.users.list_of(request.user_id), now)
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

    def _visitors(self, requests: Sequence[Visitor]) -> list[ResolvedVisitor]:
        return [
            resolve_visitor(request, self.catalog, self.users, self.user_template, self.event_weights, self.queries)
            for request in requests
        ]

    def _valid(self, rows: pa.Table, now: dt.datetime) -> pa.Table:
        """The rows of a list without items that have expired."""
        if self.expires_at is None:
            return rows
        return rows.filter(pa.array(self.expires_at[self.catalog.indices(rows["item_id"])] > now.timestamp() * 1e6))

    def _published_answer(self, request: ResolvedRequest, now: dt.datetime) -> Recommendations | None:
        """The published list without the excluded items; None where a list has to be ranked."""
        if request.needs_ranking:
            return None
        rows = self._readable_list(request)
        if rows is None:
            return None
        kept = rows.filter(pa.array(~request.excluded[self.catalog.indices(rows["item_id"])]))
        length = self._length(request)
        if len(kept) < length and (len(kept) < len(rows) or length > self.ranker.config.top_k):
            return None  # the published list is too short; a new list fills the free places
        return self._reply(kept.slice(0, length), "precomputed", request.warnings, now)

    def _ranked_answers(
        self, requests: Sequence[ResolvedRequest], top_k: int, now: dt.datetime
    ) -> list[Recommendations]:
        """New lists of one length."""
        lists = self.ranker.rank(requests, [self._listed(request) for request in requests], top_k, now)
        return [
            self._reply(rows, request.strategy, request.warnings, now, request.query)
            for request, rows in zip(requests, lists, strict=True)
        ]

    def _listed(self, request: ResolvedRequest) -> npt.NDArray[np.int64]:
        """Items of the user's published list; none for a user without one, or where it cannot be read now."""
        rows = None if request.session.stored is None else self._readable_list(request)
        return np.empty(0, np.int64) if rows is None else self.catalog.indices(rows["item_id"])

    def _readable_list(self, request: ResolvedRequest) -> pa.Table | None:
        """Rows of the published list of a user; None where they cannot be read now."""
        try:
            return self.users.list_of(request.session.user_id)
        except UnreadableError:
            return None

    def _reply(
        self,
        rows: pa.Table,
        strategy: Strategy,
        warnings: list[str],
        now: dt.datetime,
        query: ReadQuery | None = None,
    ) -> Recommendations:
        return Recommendations(
            items=self._items(rows),
            strategy=strategy,
            variant=rows["variant"][0].as_py() if len(rows) else DEFAULT_VARIANT,
            run_id=self.latest.run_id,
            model_id=self.latest.model_id,
            snapshot_age_s=self._age_s(now),
            warnings=warnings,
            understood=None if query is None else query.understood,
        )

    def _items(self, rows: pa.Table) -> list[RecommendedItem]:
        """The items of a list of RECOMMENDATIONS or SIMILAR_ITEMS, with their titles."""
        titles = self.catalog.titles_of(rows["item_id"])
        return [
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

    def _age_s(self, now: dt.datetime) -> float:
        """Seconds since the run was published."""
        return round((now - dt.datetime.fromisoformat(self.latest.published_at)).total_seconds(), 3)

    def _length(self, request: ResolvedRequest) -> int:
        return request.length or self.ranker.config.top_k
