"""Answers from one night's snapshot: the same path as the night's own, for those whom the night could not know.

It knows one loaded snapshot; neither a server nor how snapshots come and go. Shapes: B requests, I items.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.histories import shard_of
from recsys.data.texts import filled_template, template_columns
from recsys.model.features import UserTexts, index_catalog, index_items
from recsys.model.text_encoder import TextEncoder
from recsys.ranking.config import RecommendConfig
from recsys.ranking.constraints import RequestConstraints
from recsys.ranking.lists import recommend_batch
from recsys.ranking.snapshot import Snapshot
from recsys.schema import HISTORIES, RECOMMENDATIONS
from recsys.serving.contracts import (
    FoundItem,
    RecommendationRequest,
    Recommendations,
    RecommendedItem,
    Strategy,
)
from recsys.serving.request_filters import ItemFilters
from recsys.serving.sessions import Session, session_histories
from recsys.storage.lookup import KeyedFiles
from recsys.storage.publish import Latest

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_USERS_TEXT = "inputs.users.text"


@dataclass(frozen=True, kw_only=True)
class UserTemplate:
    """How what a user is becomes text, as the night made it."""

    text: str
    max_chars: int

    def fill(self, attributes: dict[str, str]) -> str:
        """The text of these attributes; "" where none of them is in it."""
        values = {name: pa.array([attributes.get(name)], pa.string()) for name in self.names}
        filled = filled_template(self.text, _USERS_TEXT, values, 1, self.max_chars)
        return str(filled[0].as_py() or "")

    @property
    def names(self) -> list[str]:
        """The attributes that it reads."""
        return template_columns(self.text, _USERS_TEXT)


@dataclass(frozen=True, kw_only=True)
class LiveSnapshot:
    """A published night, loaded: whatever is answered from it is of this night alone."""

    latest: Latest
    snapshot: Snapshot
    config: RecommendConfig
    kept_events: int
    """Newest events of a history that are read."""
    num_shards: int
    shards: frozenset[str]
    """Those that hold any user."""
    lists: KeyedFiles
    """The published lists, by user."""
    histories: KeyedFiles
    """What the night knew of its users, by user."""
    filters: ItemFilters
    encoder: TextEncoder
    user_template: UserTemplate | None
    """None: the night read nothing of what users are."""

    def answer(self, requests: Sequence[RecommendationRequest], now: dt.datetime) -> list[Recommendations]:
        """A list for each of B requests; none of them is refused, what is not known is left out with a warning.

        Args:
            requests: Of any kinds; the filters of each must have passed `ItemFilters.fault`.
            now: Moment of events that name none.
        """
        asks = [self._ask(request) for request in requests]
        answers: list[Recommendations | None] = [self._published_answer(ask, now) for ask in asks]
        waiting = [place for place, answer in enumerate(answers) if answer is None]
        by_length = sorted(waiting, key=lambda place: self._length(asks[place]))
        for top_k, group in groupby(by_length, key=lambda place: self._length(asks[place])):
            places = list(group)
            for place, answer in zip(places, self._rank([asks[place] for place in places], top_k, now), strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]

    def published_list(self, user_id: str, top_k: int | None, now: dt.datetime) -> Recommendations | None:
        """The night's list of a user, the first `top_k` of it; None: the night did not know them."""
        rows = self._list_of(user_id)
        if not len(rows):
            return None
        return self._reply(rows.slice(0, top_k), "precomputed", [], now)

    def find_items(self, text: str, limit: int) -> list[FoundItem]:
        """Items whose titles hold every word of a text, the shortest titles first."""
        found = self.filters.titled(text, limit)
        ids, titles = (column.take(pa.array(found)) for column in (self.snapshot.item_ids, self.snapshot.titles))
        return [
            FoundItem(item_id=item_id, title=title)
            for item_id, title in zip(ids.to_pylist(), titles.to_pylist(), strict=True)
        ]

    def _ask(self, request: RecommendationRequest) -> "_Ask":
        """What is asked, in terms of this night."""
        warnings: list[str] = []
        stored = self._stored(request.user_id)
        ids = [event.item_id for event in request.history]
        known = self._known(ids, "history", warnings)
        session = Session(
            user_id=request.user_id or "",
            stored=stored,
            events=[event for event in request.history if event.item_id in known],
            query=request.query or "",
            profile=self._profile(request.attributes, warnings),
        )
        barred = np.zeros(len(self.snapshot.item_ids), dtype=bool)
        excluded = self._known(request.exclude, "exclude", warnings)
        barred[index_catalog(pa.array(sorted(excluded), pa.string()), self.snapshot.item_ids)] = True
        if request.filters:
            passing = self.filters.passing(request.filters)
            if not passing.any():
                warnings.append("filters: no item passes them")
            barred |= ~passing
        return _Ask(request=request, session=session, barred=barred, warnings=warnings)

    def _published_answer(self, ask: "_Ask", now: dt.datetime) -> Recommendations | None:
        """The night's own list where it says all that can be said; None where the ranker must be asked."""
        session = ask.session
        if session.stored is None or session.events or session.query or session.profile:
            return None
        rows = self._list_of(session.user_id)
        kept = rows.filter(pa.array(~ask.barred[index_catalog(rows["item_id"], self.snapshot.item_ids)]))
        wanted = self._length(ask)
        if len(kept) < wanted and (len(kept) < len(rows) or wanted > self.config.top_k):
            return None  # a fresh list fills the places
        return self._reply(kept.slice(0, wanted), "precomputed", ask.warnings, now)

    def _rank(self, asks: Sequence["_Ask"], top_k: int, now: dt.datetime) -> list[Recommendations]:
        """Fresh lists of one length."""
        histories = session_histories([ask.session for ask in asks], now, self.kept_events)
        histories = histories.set_column(0, "user_id", pa.array([ask.identity for ask in asks]))
        config = self.config.model_copy(update={"top_k": top_k, "candidates": max(self.config.candidates, top_k)})
        constraints = RequestConstraints(
            excluded=np.stack([ask.barred for ask in asks]),
            also=self._published_items(asks),
            searching=np.array([bool(ask.session.query) for ask in asks]),
            asked=np.full(len(asks), now.timestamp() * 1e6),
        )
        snapshot = self.snapshot.with_texts(self._texts(histories))
        fresh = recommend_batch(snapshot, histories, config, constraints)
        bounds = np.searchsorted(fresh.users, np.arange(len(asks) + 1))
        parts = (fresh.lists.slice(start, stop - start) for start, stop in pairwise(bounds.tolist()))
        return [self._reply(part, ask.strategy, ask.warnings, now) for ask, part in zip(asks, parts, strict=True)]

    def _published_items(self, asks: Sequence["_Ask"]) -> Ints:
        """[B, X] items of the night's lists of those whom it knew, −1 for none."""
        found = [
            index_catalog(self._list_of(ask.session.user_id)["item_id"], self.snapshot.item_ids)
            if ask.session.stored is not None
            else np.empty(0, np.int64)
            for ask in asks
        ]
        items = np.full((len(asks), max(map(len, found))), -1, dtype=np.int64)
        for row, own in enumerate(found):
            items[row, : len(own)] = own
        return items

    def _texts(self, histories: pa.Table) -> UserTexts:
        """All texts of these histories with their vectors: those that the night encoded, and the new ones."""
        said = {*histories["texts"].combine_chunks().flatten().to_pylist(), *histories["profile"].to_pylist()} - {""}
        if not said:
            return UserTexts.none()
        texts = pa.array(sorted(said), pa.string())
        night = self.snapshot.texts
        rows = index_items(texts, night.texts)
        stored, new = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        vectors = np.zeros((len(texts), self.encoder.dim), dtype=np.float32)
        if len(stored):
            vectors[stored] = night.vectors[rows[stored]]
        if len(new):
            vectors[new] = self.encoder.encode(texts.take(pa.array(new)).to_pylist())
        return UserTexts(texts=texts, vectors=vectors)

    def _reply(self, lists: pa.Table, strategy: Strategy, warnings: list[str], now: dt.datetime) -> Recommendations:
        titles = self.snapshot.titles.take(pa.array(index_catalog(lists["item_id"], self.snapshot.item_ids)))
        items = [
            RecommendedItem(
                item_id=row["item_id"],
                rank=rank,
                score=row["score"],
                title=title,
                reason=row["reason"],
                source=row["source"],
            )
            for rank, (row, title) in enumerate(zip(lists.to_pylist(), titles.to_pylist(), strict=True), 1)
        ]
        age = now - dt.datetime.fromisoformat(self.latest.published_at)
        return Recommendations(
            items=items,
            strategy=strategy,
            run_id=self.latest.run_id,
            model_id=self.latest.model_id,
            snapshot_age_s=round(age.total_seconds(), 3),
            warnings=warnings,
        )

    def _length(self, ask: "_Ask") -> int:
        return ask.request.k or self.config.top_k

    def _stored(self, user_id: str | None) -> dict[str, Any] | None:
        if user_id is None:
            return None
        shard = self._shard(user_id)
        rows = self.histories.rows(shard, user_id) if shard in self.shards else HISTORIES.empty_table()
        return rows.to_pylist()[0] if len(rows) else None

    def _list_of(self, user_id: str) -> pa.Table:
        shard = self._shard(user_id)
        return self.lists.rows(shard, user_id) if shard in self.shards else RECOMMENDATIONS.empty_table()

    def _shard(self, user_id: str) -> str:
        return f"shard-{int(shard_of(pa.array([user_id], pa.string()), self.num_shards)[0]):05d}"

    def _known(self, ids: Sequence[str], name: str, warnings: list[str]) -> set[str]:
        """Those of the ids that the catalog knows."""
        places = index_catalog(pa.array(ids, pa.string()), self.snapshot.item_ids)
        unknown = sorted({item_id for item_id, place in zip(ids, places.tolist(), strict=True) if place < 0})
        if unknown:
            shown = ", ".join(unknown[:_SHOWN]) + (" …" if len(unknown) > _SHOWN else "")
            warnings.append(f"{name}: the catalog does not know {shown}")
        return set(ids) - set(unknown)

    def _profile(self, attributes: dict[str, str], warnings: list[str]) -> str:
        """What a user is, as the ranker reads it; "" where that is nothing."""
        if not attributes:
            return ""
        if self.user_template is None or not self.snapshot.reads_texts:
            warnings.append("attributes: this night's model reads nothing of what users are")
            return ""
        if strange := sorted(set(attributes) - set(self.user_template.names)):
            warnings.append(f"attributes: {', '.join(strange)} is not among {', '.join(self.user_template.names)}")
        return self.user_template.fill(attributes)


#: Unknown ids that a warning names.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class _Ask:
    """A request in terms of one night."""

    request: RecommendationRequest
    session: Session
    barred: Bools
    """[I]."""
    warnings: list[str] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """By what the re-ranking draws: who asks, or what a stranger tells; so an answer is of its request alone."""
        told = {"history", "query", "attributes"}
        return self.session.user_id or self.request.model_dump_json(include=told)

    @property
    def strategy(self) -> Strategy:
        """How a fresh list comes about."""
        if self.session.query:
            return "query"
        return "personalized" if self.session.stored is not None or self.session.events else "popular"
