"""Histories as sparse rows over the catalog: what a user took lately, took overall, and takes again.

It knows Arrow tables and catalog indices, no models. Shapes: B users, I items, N events, Q texts, T text dimensions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.model.features import TextKind, UserTexts, event_texts, index_catalog
from recsys.signals.retrieve import unit_rows
from recsys.signals.returns import first_of_moment
from recsys.signals.sparse_rows import SparseRows

#: An event that lies this many days before the user's last one counts half for the whole profile.
WHOLE_HALF_LIFE_DAYS = 90.0
#: A purchase that lies so far back counts half for buying again.
REPEAT_HALF_LIFE_DAYS = 120.0
#: A search that lies so far back counts half beside the history.
SEARCH_HALF_LIFE_DAYS = 7.0
#: What the oldest search still counts beside the history.
_FAINTEST_SEARCH = 1e-3
#: Newest events of a user that the profiles read; older ones would hardly weigh, and cost as much.
PROFILE_EVENTS = 100

_MICROS_PER_DAY, _MICROS_PER_MINUTE = 86_400e6, 60e6
#: A visit ends when nothing happens for so long, as web analytics have it.
VISIT_MINUTES = 30.0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """Sparse rows of B users over I items."""

    newest: SparseRows
    """[B, I] weight 1 / (1 + k) of the k-th event from the end, rows sum to 1 (0 for an empty history)."""
    whole: SparseRows
    """[B, I] of the same items; weights that halve each `WHOLE_HALF_LIFE_DAYS` before the user's last event, rows sum
    to 1."""
    repeats: SparseRows
    """[B, I] number of moments at which the user took the item, each halving with its age; none where nothing is taken
    again."""
    read: npt.NDArray[np.bool_]
    """[B] of whom the ranker reads anything: what the catalog knows of the history, or what the user is or said."""
    visiting: npt.NDArray[np.bool_]
    """[B] who did or searched for anything within `VISIT_MINUTES` before the moment from which ages are measured; of
    whom anything is known from after it, before they ask."""
    searches: npt.NDArray[np.float32]
    """[B, T] direction of the texts that the user searched for, as long as the newest is fresh: 1, halving each
    `SEARCH_HALF_LIFE_DAYS`; 0 without any. T is 0 where no search is known."""

    @classmethod
    def build(
        cls,
        histories: pa.Table,
        item_ids: pa.Array,
        now: Floats,
        again: bool,
        texts: UserTexts | None = None,
        read: npt.NDArray[np.bool_] | None = None,
        asked: Floats | None = None,
    ) -> "Profiles":
        """Profiles of B users.

        Args:
            histories: HISTORIES table; events whose item is not in ``item_ids`` leave no trace.
            item_ids: [I] sorted.
            now: [B] microseconds since 1970 from which ages are measured.
            again: Whether items are taken again; else there are no repeats.
            texts: Vectors of what users searched for; None: no search is known.
            read: [B] of whom the ranker reads anything; None: of those with an event whose item is in ``item_ids``.
            asked: [B] microseconds since 1970 at which they ask, if that is later than ``now``.
        """
        texts = texts or UserTexts.none()
        lists = histories["item_ids"].combine_chunks()
        user, item = _numpy(pc.list_parent_indices(lists)), index_catalog(_flat(lists), item_ids)
        moment = _numpy(_flat(histories["timestamps"].combine_chunks()).cast(pa.int64()))
        searches = _searches(histories, user, item, moment, now, texts)
        last = _newest(user, moment, len(histories))
        until = now if asked is None else np.where(last > now, asked, now)
        visiting = until - last <= VISIT_MINUTES * _MICROS_PER_MINUTE
        user, item, moment = (column[item >= 0] for column in (user, item, moment))
        counts = np.bincount(user, minlength=len(histories))
        ends = np.cumsum(counts)
        from_end = ends[user] - 1 - np.arange(len(user))
        before_last = (moment[ends[user] - 1] - moment) / _MICROS_PER_DAY
        recent = from_end < PROFILE_EVENTS
        weights = 1 / (1.0 + from_end[recent]), np.exp2(-before_last[recent] / WHOLE_HALF_LIFE_DAYS)
        newest, whole = SparseRows.of_each(user[recent], item[recent], weights, len(histories))
        repeats = SparseRows.none(len(histories))
        if again:
            once = first_of_moment(user, item, moment)
            age = np.maximum(now[user[once]] - moment[once], 0) / _MICROS_PER_DAY
            decayed = np.exp2(-age / REPEAT_HALF_LIFE_DAYS)
            repeats = SparseRows.of(user[once], item[once], decayed, len(histories))
        return cls(
            newest=newest.shares(),
            whole=whole.shares(),
            repeats=repeats,
            read=counts > 0 if read is None else read,
            visiting=visiting,
            searches=searches,
        )

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """[B] of whom anything is known that makes one item likelier than another."""
        known: npt.NDArray[np.bool_] = self.read | self.searched
        return known

    @property
    def told_only(self) -> npt.NDArray[np.bool_]:
        """[B] of whom is known what they are or said, and no item that they took."""
        told: npt.NDArray[np.bool_] = self.read & (self.whole.lengths == 0)
        return told

    @property
    def only_described(self) -> npt.NDArray[np.bool_]:
        """[B] of whom is known what they are, and nothing that they did."""
        return self.told_only & ~self.searched

    @property
    def searched(self) -> npt.NDArray[np.bool_]:
        """[B] who searched for anything."""
        return np.asarray(self.searches.any(axis=1), dtype=np.bool_)

    def rows(self, users: npt.NDArray[np.int64]) -> "Profiles":
        """Some of the users, in this order."""
        return Profiles(
            newest=self.newest.rows(users),
            whole=self.whole.rows(users),
            repeats=self.repeats.rows(users),
            read=self.read[users],
            visiting=self.visiting[users],
            searches=self.searches[users],
        )


def _searches(
    histories: pa.Table, user: Ints, item: Ints, moment: Ints, now: Floats, texts: UserTexts
) -> npt.NDArray[np.float32]:
    """[B, T] of `Profiles.searches`."""
    said, kinds = event_texts(histories, item, texts.texts)
    search = kinds == TextKind.SEARCH
    if not search.any():
        return np.zeros((len(histories), 0), dtype=np.float32)
    user, said = user[search], said[search]
    moment = moment[search]
    age = np.maximum(now[user] - moment, 0) / _MICROS_PER_DAY
    newest = np.maximum(now - _newest(user, moment, len(now)), 0) / _MICROS_PER_DAY
    weight = np.exp2(-(age - newest[user]) / SEARCH_HALF_LIFE_DAYS)
    matrix = sp.csr_array((weight, (user, said)), shape=(len(histories), len(texts.texts)))
    used = np.unique(said)
    sums = matrix[:, used] @ unit_rows(texts.vectors[used])
    freshness = np.maximum(np.exp2(-newest / SEARCH_HALF_LIFE_DAYS), _FAINTEST_SEARCH)
    return np.asarray(unit_rows(sums) * freshness[:, None], dtype=np.float32)


def _newest(user: Ints, moment: Ints, num_users: int) -> Floats:
    """[B] moment of each user's newest event, −∞ without any."""
    newest = np.full(num_users, -np.inf)
    np.maximum.at(newest, user, moment)
    return newest


def _flat(lists: Any) -> Any:
    return lists.flatten()


def _numpy(column: Any) -> Ints:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)
