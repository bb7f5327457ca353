"""What a re-ranking rule is. An item rule says which items may be recommended; a list rule reorders users' candidates.

`user_rule.py` has the third kind: a user rule removes items for some users.

A rule is one file beside this one and one line in `registry.py`, or a module of your own in the config's `plugins`.

Shapes: B users, C candidates, D dimensions, I items, K list length.
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.config.section import Section
from recsys.ranking.order import Bools, Floats, Ints
from recsys.ranking.rules.attributes import needed_attribute

#: The config section that a rule reads.
RuleSettings = TypeVar("RuleSettings", bound=Section)


class Rule(ABC, Generic[RuleSettings]):
    """What all rules have. A rule keeps no state: what it needs of a night, it gets from its arguments."""

    name: str
    """What counts and settings are stored under: `rerank.rules.<name>`."""
    summary: str
    """One sentence for people: what the rule does."""
    settings: type[RuleSettings]
    """Its config section. `RerankConfig` itself for the rules whose keys stand directly in `rerank`."""

    def warnings(self, settings: RuleSettings, catalog: pa.Table) -> Sequence[str]:  # noqa: ARG002
        """Sentences for the log: what of the settings has no effect on this catalog. It is asked before the training.

        Raises:
            ConfigError: the settings do not fit the catalog.
        """
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCheck:
    """What an item rule found in a catalog of I items."""

    passes: Bools
    """[I] the items that may be recommended as far as this rule is concerned."""
    blame: str = ""
    """Names the rule in the error for a catalog without any item left, before a number: `the block list removes`."""
    hint: str = ""
    """Added to that error: what could be changed."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Further counts for the run's record."""
    warnings: Sequence[str] = ()
    """Sentences for the log."""


class ItemRule(Rule[RuleSettings]):
    """Removes items from what may be recommended, for all users. The items that it removes are counted by its name."""

    @abstractmethod
    def check(self, settings: RuleSettings, catalog: pa.Table) -> ItemCheck:
        """Check every item.

        Args:
            settings: The rule's section.
            catalog: CATALOG with `item_id`, `available` and `attributes`.

        Raises:
            ConfigError: the settings do not fit the catalog.
        """

    def check_on(self, settings: RuleSettings, catalog: pa.Table, shown_on: dt.date) -> ItemCheck:  # noqa: ARG002
        """`check` for lists that are shown on a day; a rule whose items depend on the day overrides it."""
        return self.check(settings, catalog)


@dataclass(frozen=True, kw_only=True)
class NightFacts:
    """What list rules may read of a night while they prepare."""

    popularity: npt.NDArray[np.integer]
    """[I] interactions of each item."""
    is_cold: Bools
    """[I] new items, which nobody took or rejected yet. An item that people only send back is not new."""
    recommendable: Bools
    """[I] items that may be recommended."""
    seed: int
    """The config's seed."""
    date: dt.date
    """The night's date; what is drawn at random differs from night to night."""
    vectors: npt.NDArray[np.floating] | None = None
    """[I, D] item vectors. None after the rules are prepared, since they are large."""
    catalog: pa.Table | None = None
    """CATALOG of the I items. None after the rules are prepared, and where a caller has none."""

    def attribute(self, name: str) -> pa.ChunkedArray:
        """[I] texts of an attribute, null where an item does not have it; it is an error if no item has it."""
        assert self.catalog is not None, f"attribute {name!r} was asked for, but these facts have no catalog"
        return needed_attribute(self.catalog, name)

    def attribute_codes(self, name: str) -> Ints:
        """[I] a number from 0 for each different text of an attribute, −1 where an item does not have it."""
        codes = pc.dictionary_encode(self.attribute(name)).combine_chunks().indices
        return np.asarray(pc.fill_null(codes, -1), dtype=np.int64)

    def small(self) -> "NightFacts":
        """The same facts without the large ones."""
        return replace(self, vectors=None, catalog=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedBatch:
    """Candidates of B users in the order of their lists. Methods return a new batch."""

    user_ids: pa.Array | pa.ChunkedArray
    """[B]."""
    items: Ints
    """[B, C] int64 catalog indices, best first, C ≥ K. −1 is no candidate; these stand at the end."""
    scores: Floats
    """[B, C] float32; −inf where there is no candidate."""
    explored: Bools
    """[B, C] candidates that were placed by chance."""
    top_k: int
    """K: the first K candidates become the list."""
    num_open: int
    """Places before those that later rules reserve for themselves; K where none does."""
    pinned: Bools | None = None
    """[B, C] candidates that stand higher than by their scores, because the shop wants it; None: there are none."""
    fixed: Bools | None = None
    """[B, C] candidates whose places later rules leave as they are; None: there are none."""
    last_resort: Bools | None = None
    """[B, C] candidates that are listed only where nothing else is left; None: there are none."""

    def reordered(self, order: Ints, scores: Floats | None = None) -> "RankedBatch":
        """The candidates of these columns [B, C] in this order, with these scores [B, C] (None: their own)."""
        marks = {name: getattr(self, name) for name in ("explored", "pinned", "fixed", "last_resort")}
        taken: dict[str, Any] = {
            name: np.take_along_axis(mark, order, 1) for name, mark in marks.items() if mark is not None
        }
        return replace(
            self,
            items=np.take_along_axis(self.items, order, 1),
            scores=np.take_along_axis(self.scores, order, 1) if scores is None else scores,
            **taken,
        )

    def rescored(self, scores: Floats) -> tuple["RankedBatch", int]:
        """The candidates in the order of new scores [B, C], and how many items enter the best K."""
        order = np.lexsort((self.items, -scores), axis=1)
        return self.reordered(order, np.take_along_axis(scores, order, 1)), self.num_entered(order, self.top_k)

    def ordered_by(self, groups: npt.NDArray[np.integer]) -> Ints:
        """[B, C] the order in which the candidates of lower groups [B, C] come first, and those of a group keep theirs.

        Fixed candidates stay at their places.
        """
        if self.fixed is None:
            return np.argsort(groups, axis=1, kind="stable")
        open_first = np.argsort(self.fixed, axis=1, kind="stable")
        sequence = np.argsort(np.where(self.fixed, groups.max(initial=0) + 1, groups), axis=1, kind="stable")
        order = np.empty_like(sequence)
        np.put_along_axis(order, open_first, sequence, 1)
        return order

    def order_with(self, columns: Ints) -> Ints:
        """[B, C] the order in which these candidates come first and all others keep their order.

        Args:
            columns: [B, N] distinct columns; −1 for none, at the end of a row.
        """
        num_users, width = self.items.shape
        keys = np.tile(np.arange(width) + columns.shape[1], (num_users, 1))
        users, places = np.nonzero(columns >= 0)
        keys[users, columns[users, places]] = places
        return np.argsort(keys, axis=1, kind="stable")

    def demote(self, candidates: Bools) -> tuple["RankedBatch", int]:
        """Move candidates [B, C] behind all others of their users, and count the items that enter the open places.

        So an item that should not be in a list still fills a place that would be empty without it. Fixed ones stay.
        """
        order = self.ordered_by(candidates + 2 * (self.items < 0).astype(np.int8))
        marked = candidates if self.last_resort is None else self.last_resort | candidates
        return replace(self, last_resort=marked).reordered(order), self.num_entered(order, self.num_open)

    def num_entered(self, order: Ints, num_places: int) -> int:
        """How many items an order [B, C] brings into the first places that did not stand there before."""
        entered = (order >= num_places) & (np.take_along_axis(self.items, order, 1) >= 0)
        return int(entered[:, :num_places].sum())


#: A prepared list rule: a function of a batch that returns the reordered batch, and how many items the rule moved. What
#: a user gets must not depend on the other users of the batch.
Reorder = Callable[[RankedBatch], tuple[RankedBatch, int]]


class ListRule(Rule[RuleSettings]):
    """Reorders the candidates of users. Rules are applied one after another, in the order of the registry."""

    @abstractmethod
    def prepare(self, settings: RuleSettings, facts: NightFacts) -> Reorder | None:
        """Compute once what holds for all users of a night; None where the settings switch the rule off.

        Raises:
            ConfigError: the settings do not fit the catalog.
        """

    def wanted_items(self, settings: RuleSettings, facts: NightFacts) -> Ints:  # noqa: ARG002 - as below
        """[P] catalog indices of items that become candidates of every user, unless something keeps the user from it.

        The catalog of ``facts`` is there.
        """
        return np.zeros(0, dtype=np.int64)

    def num_reserved(self, settings: RuleSettings, top_k: int) -> int:  # noqa: ARG002 - for those that override it
        """How many places at the end of a list of K this rule fills; the rules before it leave them alone."""
        return 0

    def check_list_length(self, settings: RuleSettings, top_k: int) -> None:
        """Check what only the list length decides.

        Raises:
            ValueError: lists of K are too short for the rule; the message names the keys and the way out.
        """
