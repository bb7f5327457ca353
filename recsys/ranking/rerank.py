"""From scored candidates to lists: applies the list rules one after another.

Shapes: B users, C candidates, D dimensions, I items, K list length.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.config.section import Section
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Floats, Ints, best_first, distinct_candidates, falling
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.rules.registry import list_rules, settings_of, user_rules
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder
from recsys.ranking.rules.user_rule import LiftItems, RemoveItems


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranked:
    """The lists of B users: no item twice, scores that never rise, equal scores by index."""

    items: Ints
    """[B, K] int64 catalog indices, best first; −1 where a list is shorter."""
    scores: Floats
    """[B, K] float32, −inf where there is no item."""
    explored: Bools
    """[B, K] which places hold items that were drawn at random."""
    pinned: Bools
    """[B, K] which places hold items that stand there because the shop wants it."""
    counts: RerankCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRule:
    """A list rule, ready for a night."""

    rule: ListRule[Any]
    settings: Section
    reorder: Reorder | None
    """None: the rule is off."""

    @classmethod
    def of(cls, rule: ListRule[Any], config: RerankConfig, facts: NightFacts) -> "PreparedRule":
        """Prepare a rule."""
        settings = settings_of(rule, config)
        return cls(rule=rule, settings=settings, reorder=rule.prepare(settings, facts))

    def num_reserved(self, top_k: int) -> int:
        """Places at the end of a list of K that the rule fills."""
        return 0 if self.reorder is None else self.rule.num_reserved(self.settings, top_k)


@dataclass(frozen=True, kw_only=True)
class Reranker:
    """The list rules, prepared for one night."""

    config: RerankConfig
    facts: NightFacts
    """The small ones; see `NightFacts.small`."""
    prepared: tuple[PreparedRule, ...]
    """Every list rule, in the order of application."""
    removers: Mapping[str, RemoveItems]
    """The user rules that are on, by name, in the order of application."""
    lifters: Mapping[str, LiftItems]
    """The user rules that add to scores, by name."""
    wanted: Ints
    """[P] items that are candidates of every user."""

    @classmethod
    def build(cls, config: RerankConfig, facts: NightFacts) -> "Reranker":
        """Prepare the rules once for a night.

        Args:
            config: The rules' settings.
            facts: All of them; the catalog is needed where a rule reads attributes.
        """
        assert facts.vectors is not None, "rules are prepared without item vectors"
        num_items = len(facts.popularity)
        assert num_items == len(facts.vectors), f"{num_items} counts, {len(facts.vectors)} vectors"
        assert num_items == len(facts.is_cold), f"{num_items} counts, {len(facts.is_cold)} cold or not"
        prepared = tuple(PreparedRule.of(rule, config, facts) for rule in list_rules())
        removers = {rule.name: rule.prepare(settings_of(rule, config), facts) for rule in user_rules()}
        lifters = {rule.name: rule.prepare_lifts(settings_of(rule, config), facts) for rule in user_rules()}
        wanted = [one.rule.wanted_items(one.settings, facts) for one in prepared if one.reorder is not None]
        return cls(
            config=config,
            facts=facts.small(),
            prepared=prepared,
            removers={name: remove for name, remove in removers.items() if remove is not None},
            lifters={name: lift for name, lift in lifters.items() if lift is not None},
            wanted=np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *wanted])),
        )

    def off(self) -> "Reranker":
        """Without any rule: lists follow the scores alone."""
        return replace(self, prepared=(), removers={}, lifters={}, wanted=self.wanted[:0])

    def with_setting(self, name: str, value: float) -> "Reranker":
        """With another value of a setting of `rerank` that has the name of its rule, such as `long_tail_boost`.

        The other rules stay as they are prepared.
        """
        config = self.config.model_copy(update={name: value})
        prepared = tuple(
            PreparedRule.of(one.rule, config, self.facts) if one.rule.name == name else one for one in self.prepared
        )
        return replace(self, config=config, prepared=prepared)

    def rerank(self, user_ids: pa.Array | pa.ChunkedArray, items: Ints, scores: Floats, top_k: int) -> Reranked:
        """The lists of B users. Each depends on its own candidates and, where something is drawn, on its user's id.

        The written score is the given one, changed by the rules; where it would rise from one place to the next, it is
        lowered to the score above it, see `order.falling`.

        Args:
            user_ids: [B].
            items: [B, C] int64 candidates in any order, −1 where there is none.
            scores: [B, C] float32 log P(item | user), −inf where there is none.
            top_k: K.
        """
        assert len(user_ids) == len(items), f"{len(user_ids)} users, candidates of {len(items)}"
        items, scores, duplicates = distinct_candidates(items, scores, width=top_k)
        num_distinct = int(np.count_nonzero(items >= 0))
        items, scores = best_first(items, scores)
        explored = np.zeros(items.shape, dtype=bool)
        batch, moved = self._apply(
            RankedBatch(user_ids=user_ids, items=items, scores=scores, explored=explored, top_k=top_k, num_open=top_k)
        )
        listed = batch.items[:, :top_k]
        num_listed = int((listed >= 0).sum())
        counts = RerankCounts(
            users=len(items),
            candidates=duplicates + num_distinct,
            duplicates=duplicates,
            listed=num_listed,
            left_out=num_distinct - num_listed,
            moved=moved,
        )
        return Reranked(
            items=listed,
            scores=falling(listed, batch.scores[:, :top_k]),
            explored=batch.explored[:, :top_k],
            pinned=np.zeros(listed.shape, dtype=bool) if batch.pinned is None else batch.pinned[:, :top_k],
            counts=counts,
        )

    def _apply(self, batch: RankedBatch) -> tuple[RankedBatch, dict[str, int]]:
        """Apply every rule that is on, and count what each of them moved."""
        moved = {}
        later = sum(one.num_reserved(batch.top_k) for one in self.prepared)
        for one in self.prepared:
            later -= one.num_reserved(batch.top_k)
            moved[one.rule.name] = 0
            if one.reorder is not None:
                batch, moved[one.rule.name] = one.reorder(replace(batch, num_open=batch.top_k - later))
        return batch, moved
