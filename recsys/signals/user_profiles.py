"""Histories as sparse rows over the catalog: the last items, the whole history, and repeats.

Shapes: B users, I items, N events, Q texts, T text dimensions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.times.moments import MICROS_PER_DAY
from recsys.model.features import TextKind, UserTexts, event_texts, index_catalog
from recsys.signals.products import unit_rows
from recsys.signals.sparse_rows import SparseRows

#: An event that lies this many days before the user's last event has half its weight in the history.
HISTORY_HALF_LIFE_DAYS = 90.0
#: A purchase that lies this many days back counts half as a repeat.
REPEAT_HALF_LIFE_DAYS = 120.0
#: A search that lies this many days back has half its weight beside the history.
SEARCH_HALF_LIFE_DAYS = 7.0
#: Smallest weight of a search beside the history.
_LEAST_SEARCH = 1e-3
#: Newest events of a user that the rows hold; older events have little weight and cost as much.
PROFILE_EVENTS = 100

_MICROS_PER_MINUTE = 60e6
#: A session ends when nothing happens for this long, as in web analytics.
SESSION_MINUTES = 30.0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class UserProfiles:
    """Sparse rows of B users over I items."""

    last: SparseRows
    """[B, I] weight of the event / (1 + k) for the k-th event from the end; a row sums to 1, or to 0 for an empty
    history."""
    history: SparseRows
    """[B, I] of the same items; the weights of the events halve every `HISTORY_HALF_LIFE_DAYS` before the user's last
    event. A row sums to 1, or to 0 for an empty history."""
    repeats: SparseRows
    """[B, I] number of times that the user took the item, each halving with its age, and each by its weight beside the
    mean weight of the user's events; empty where lists leave out what was seen."""
    has_tokens: Bools
    """[B] whether the ranker has anything to read: a known item, a search, or a description of the user."""
    in_session: Bools
    """[B] whether the user did or searched for anything in the `SESSION_MINUTES` before they are scored."""
    searches: npt.NDArray[np.float32]
    """[B, T] direction of the texts that the user searched for. Its length is 1 for a fresh search and halves every
    `SEARCH_HALF_LIFE_DAYS` of the newest; it is 0 without a search. T is 0 where nobody searched."""
    by_description: Bools
    """[B] whether ``searches`` is the description of the user instead, who searched for nothing."""

    @classmethod
    def build(
        cls,
        histories: pa.Table,
        item_ids: pa.Array,
        now: Floats,
        repeats: bool,
        texts: UserTexts | None = None,
        has_tokens: Bools | None = None,
        asked: Floats | None = None,
        descriptions: Ints | None = None,
    ) -> "UserProfiles":
        """The profiles of B users.

        Args:
            histories: HISTORIES table; events whose item is not in ``item_ids`` leave no trace.
            item_ids: [I] sorted.
            now: [B] microseconds since 1970 from which ages are measured.
            repeats: Whether items may be taken again; otherwise there are no repeats.
            texts: Vectors of what users searched for; None: no search is known.
            has_tokens: [B] of the profiles; None: users with an event whose item is in ``item_ids``.
            asked: [B] microseconds since 1970 of a live request; a later moment than ``now`` counts for the session.
            descriptions: [B] row of each user's description in ``texts``, −1 for none. Where nothing else is known, it
                counts as a fresh search. None: descriptions are left to the ranker.
        """
        texts = texts or UserTexts.none()
        lists = histories["item_ids"].combine_chunks()
        user, item = _numpy(pc.list_parent_indices(lists)), index_catalog(lists.flatten(), item_ids)
        moment = _numpy(histories["timestamps"].combine_chunks().flatten().cast(pa.int64()))
        is_known = item >= 0
        counts = np.bincount(user[is_known], minlength=len(histories))
        searches = _searches(histories, user, item, moment, now, texts)
        by_description = np.zeros(len(histories), dtype=bool)
        if descriptions is not None:
            by_description = (descriptions >= 0) & (counts == 0) & ~searches.any(axis=1)
            searches = _with_descriptions(searches, np.where(by_description, descriptions, -1), texts)
        newest = _newest(user, moment, len(histories))
        until = now if asked is None else np.where(newest > now, asked, now)
        weight: Floats = np.asarray(histories["weights"].combine_chunks().flatten()).astype(np.float64)
        known = _relative_weights(user[is_known], item[is_known], moment[is_known], weight[is_known], counts)
        last, history = _recent_items(known, counts)
        return cls(
            last=last,
            history=history,
            repeats=_repeated_items(known, now) if repeats else SparseRows.none(len(histories)),
            has_tokens=counts > 0 if has_tokens is None else has_tokens,
            in_session=until - newest <= SESSION_MINUTES * _MICROS_PER_MINUTE,
            searches=searches,
            by_description=by_description,
        )

    @property
    def lengths(self) -> Ints:
        """[B] different items of the history."""
        return self.history.lengths

    @property
    def known(self) -> Bools:
        """[B] whether anything is known that makes one item more likely than another."""
        known: Bools = self.has_tokens | self.searched
        return known

    @property
    def without_items(self) -> Bools:
        """[B] whether only a description or words of the user are known, and no item."""
        without: Bools = self.has_tokens & (self.lengths == 0)
        return without

    @property
    def described_only(self) -> Bools:
        """[B] whether only a description of the user is known, and nothing that the user did."""
        return self.without_items & ~self.searched

    @property
    def searched(self) -> Bools:
        """[B] whether the user searched for anything."""
        return np.asarray(self.searches.any(axis=1), dtype=np.bool_)

    def rows(self, users: Ints) -> "UserProfiles":
        """Some of the users, in this order."""
        return UserProfiles(
            last=self.last.rows(users),
            history=self.history.rows(users),
            repeats=self.repeats.rows(users),
            has_tokens=self.has_tokens[users],
            in_session=self.in_session[users],
            searches=self.searches[users],
            by_description=self.by_description[users],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Events:
    """N events whose items are in the catalog, by user and time."""

    user: Ints
    item: Ints
    moment: Ints
    """Microseconds since 1970."""
    weight: Floats
    """Beside the mean weight of the user's events."""


def _relative_weights(user: Ints, item: Ints, moment: Ints, weight: Floats, counts: Ints) -> _Events:
    """The events with their weights beside the user's mean; ``counts`` [B] are the users' numbers of events."""
    mean = np.bincount(user, weight, minlength=len(counts)) / np.maximum(counts, 1)
    return _Events(user=user, item=item, moment=moment, weight=weight / mean[user])


def _recent_items(events: _Events, counts: Ints) -> tuple[SparseRows, SparseRows]:
    """`UserProfiles.last` and `UserProfiles.history`."""
    ends = np.cumsum(counts)
    from_end = ends[events.user] - 1 - np.arange(len(events.user))
    before_last = (events.moment[ends[events.user] - 1] - events.moment) / MICROS_PER_DAY
    recent = from_end < PROFILE_EVENTS
    shares = 1 / (1.0 + from_end[recent]), np.exp2(-before_last[recent] / HISTORY_HALF_LIFE_DAYS)
    weighted = [share * events.weight[recent] for share in shares]
    last, history = SparseRows.of_each(events.user[recent], events.item[recent], weighted, len(counts))
    return last.shares(), history.shares()


def _repeated_items(events: _Events, now: Floats) -> SparseRows:
    """`UserProfiles.repeats`."""
    once = first_of_basket(events.user, events.item, events.moment, events.weight)
    user, item = events.user[once], events.item[once]
    age = np.maximum(now[user] - events.moment[once], 0) / MICROS_PER_DAY
    return SparseRows.of(user, item, np.exp2(-age / REPEAT_HALF_LIFE_DAYS) * events.weight[once], len(now))


def first_of_basket(users: Ints, items: Ints, moments: npt.NDArray[np.number], weights: Floats | None = None) -> Ints:
    """One event for each user, item and moment: two lines of one invoice are one purchase.

    Args:
        users: [N].
        items: [N].
        moments: [N] in any unit.
        weights: [N]; the event of the largest weight is taken. None: the first one.

    Returns:
        Places of these events, by user, item and moment.
    """
    keys = (moments, items, users)
    order = np.lexsort(keys if weights is None else (-weights, *keys))
    different = np.ones(len(order), dtype=bool)
    different[1:] = np.any([np.diff(column[order]) != 0 for column in (users, items, moments)], axis=0)
    return order[different]


def _searches(
    histories: pa.Table, user: Ints, item: Ints, moment: Ints, now: Floats, texts: UserTexts
) -> npt.NDArray[np.float32]:
    """[B, T] of `UserProfiles.searches`."""
    said, kinds = event_texts(histories, item, texts.texts)
    search = kinds == TextKind.SEARCH
    if not search.any():
        return np.zeros((len(histories), 0), dtype=np.float32)
    user, said = user[search], said[search]
    moment = moment[search]
    age = np.maximum(now[user] - moment, 0) / MICROS_PER_DAY
    newest = np.maximum(now - _newest(user, moment, len(now)), 0) / MICROS_PER_DAY
    weight = np.exp2(-(age - newest[user]) / SEARCH_HALF_LIFE_DAYS)
    used, place = np.unique(said, return_inverse=True)
    sums = SparseRows.of(user, place, weight, len(histories)).times(unit_rows(texts.vectors[used]))
    freshness = np.maximum(np.exp2(-newest / SEARCH_HALF_LIFE_DAYS), _LEAST_SEARCH)
    return np.asarray(unit_rows(sums) * freshness[:, None], dtype=np.float32)


def _with_descriptions(
    searches: npt.NDArray[np.float32], descriptions: Ints, texts: UserTexts
) -> npt.NDArray[np.float32]:
    """[B, T] searches, in their place the description where there is one (a row of the texts, −1 for none)."""
    if not (descriptions >= 0).any():
        return searches
    found = np.zeros((len(searches), texts.vectors.shape[1]), dtype=np.float32)
    found[:, : searches.shape[1]] = searches
    found[descriptions >= 0] = unit_rows(texts.vectors[descriptions[descriptions >= 0]])
    return found


def _newest(user: Ints, moment: Ints, num_users: int) -> Floats:
    """[B] moment of each user's newest event, −∞ without any."""
    newest = np.full(num_users, -np.inf)
    np.maximum.at(newest, user, moment)
    return newest


def _numpy(column: Any) -> Ints:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)
