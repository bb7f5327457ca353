"""From scored candidates to lists: the tail dial, new items, diversity, exploration; each is next door.

It knows catalog indices and hashes of users, no models and no files. Shapes: B users, C candidates, I items, D
dimensions, K list length.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.item_counts import head_items
from recsys.ranking.cold_slots import lift_new, new_share
from recsys.ranking.config import RerankConfig
from recsys.ranking.diversity import Directions, directions, select_diverse
from recsys.ranking.exploration import draw, fractions, num_places, user_keys
from recsys.ranking.long_tail import discounted
from recsys.ranking.order import NO_ITEM, Bools, Floats, Ints, best_first, distinct_candidates, falling


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankCounts:
    """What re-ranking did to a batch; batches add up: candidates = duplicates + listed + left_out."""

    users: int = 0
    candidates: int = 0
    """Scored candidates that came in."""
    duplicates: int = 0
    """Candidates dropped, since the user had the item with a better score."""
    listed: int = 0
    """Places of all lists that hold an item."""
    left_out: int = 0
    """Distinct candidates that are in no list."""
    moved_by_tail: int = 0
    """Items among a user's best K after the long-tail dial that were not among them before."""
    lifted_new: int = 0
    """Items without interactions among a user's best K that their score alone would not have brought there."""
    moved_by_diversity: int = 0
    """Items chosen for diversity that would not have been among as many by score."""
    explored: int = 0
    """Places given to drawn items."""

    def __add__(self, other: "RerankCounts") -> "RerankCounts":
        return RerankCounts(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )

    @classmethod
    def sum(cls, counts: Iterable["RerankCounts"]) -> "RerankCounts":
        """All of them together; zeros for none."""
        return sum(counts, start=cls())

    def as_dict(self) -> dict[str, int]:
        """For a record of the run."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranked:
    """The lists of B users: no item twice, scores that never rise, equal scores by index."""

    items: Ints
    """[B, K] int64 catalog indices, best first; −1 where a list is shorter."""
    scores: Floats
    """[B, K] float32, −inf where there is no item."""
    explored: Bools
    """[B, K] which places were given to drawn items."""
    counts: RerankCounts


@dataclass(frozen=True, kw_only=True)
class Reranker:
    """The dials, and what they need to know of one night's catalog."""

    config: RerankConfig
    head: Bools
    """[I] items of the short head."""
    is_new: Bools
    """[I] items without interactions."""
    new_share: float
    """Share of a list that is theirs."""
    directions: Directions | None
    """[I, D], where diversity is on."""
    seed: int
    date: dt.date

    @classmethod
    def build(
        cls,
        config: RerankConfig,
        popularity: npt.NDArray[np.integer],
        recommendable: Bools,
        vectors: npt.NDArray[np.floating],
        seed: int,
        date: dt.date,
    ) -> "Reranker":
        """Prepare a snapshot's facts once.

        Args:
            config: The dials.
            popularity: [I] interactions of each item, as `recsys.ranking.long_tail.item_popularity` gives.
            recommendable: [I] what may be in a list.
            vectors: [I, D] item vectors; only their directions count.
            seed: The config's.
            date: The night's; who has a place for new items, and what is explored, is drawn anew every night.
        """
        assert len(popularity) == len(vectors), f"{len(popularity)} counts, {len(vectors)} vectors"
        return cls(
            config=config,
            head=head_items(popularity),
            is_new=popularity == 0,
            new_share=new_share(popularity == 0, recommendable, config.new_items),
            directions=directions(vectors) if config.diversity else None,
            seed=seed,
            date=date,
        )

    def with_tail(self, tail: float) -> "Reranker":
        """The same with the long-tail dial at this value, ≥ 0."""
        assert tail >= 0, f"a dial below 0: {tail}"
        return replace(self, config=self.config.model_copy(update={"tail": tail}))

    def rerank(self, user_ids: pa.Array | pa.ChunkedArray, items: Ints, scores: Floats, top_k: int) -> Reranked:
        """The lists of B users, each a function of its own candidates and, where something is drawn, of its user's id.

        The written score is log P(item | user) less the long-tail penalty; under diversity it is the value that chose
        the item, on the same scale. A new item that was lifted takes the score of the one above it. Drawn items take
        the last places, best first: so the head of a list is the ranker's own, and a drawn item, which scores below
        what it could not oust, keeps its own score. Only where diversity has pressed the scores above it lower still,
        it takes the one above it, see `order.falling`.

        Args:
            user_ids: [B].
            items: [B, C] int64 candidates in any order, −1 where there is none.
            scores: [B, C] float32 log P(item | user), −inf where there is none.
            top_k: K.
        """
        assert len(user_ids) == len(items), f"{len(user_ids)} users, candidates of {len(items)}"
        items, scores, duplicates = distinct_candidates(items, scores, width=top_k)
        num_candidates = duplicates + int(np.count_nonzero(items >= 0))
        items, scores = best_first(items, scores)
        items, scores, moved_by_tail = self._favour_tail(items, scores, top_k)
        items, scores, lifted_new = self._lift_new(user_ids, items, scores, top_k)
        num_drawn = num_places(self.config.exploration, top_k)
        columns, values, moved_by_diversity = self._choose(items, scores, top_k - num_drawn)
        explored = np.zeros((len(items), top_k), dtype=bool)
        if num_drawn:
            drawn = self._draw(user_ids, items, columns, values, num_drawn)
            columns = np.concatenate([columns, np.maximum(drawn, 0)], axis=1)
            lots = np.where(drawn >= 0, np.take_along_axis(scores, np.maximum(drawn, 0), 1), np.float32(-np.inf))
            values = np.concatenate([values, lots], axis=1)
            explored[:, top_k - num_drawn :] = drawn >= 0
        listed = np.where(values > -np.inf, np.take_along_axis(items, columns, 1), NO_ITEM)
        if num_drawn or self.new_share or self.directions is not None:
            values = falling(listed, values)
        num_listed = int((listed >= 0).sum())
        counts = RerankCounts(
            users=len(items),
            candidates=num_candidates,
            duplicates=duplicates,
            listed=num_listed,
            left_out=num_candidates - duplicates - num_listed,
            moved_by_tail=moved_by_tail,
            lifted_new=lifted_new,
            moved_by_diversity=moved_by_diversity,
            explored=int(explored.sum()),
        )
        return Reranked(items=listed, scores=values, explored=explored, counts=counts)

    def _favour_tail(self, items: Ints, scores: Floats, top_k: int) -> tuple[Ints, Floats, int]:
        """Sorted candidates [B, C] in their order after the dial, and how many entered the best K."""
        if not self.config.tail:
            return items, scores, 0
        scores = discounted(items, scores, self.head, self.config.tail)
        order = np.lexsort((items, -scores), axis=1)
        items, scores = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
        return items, scores, int(((order >= top_k) & (items >= 0))[:, :top_k].sum())

    def _lift_new(
        self, user_ids: pa.Array | pa.ChunkedArray, items: Ints, scores: Floats, top_k: int
    ) -> tuple[Ints, Floats, int]:
        """Candidates [B, C] after each user's best new items got their places, and how many entered the best K."""
        if not self.new_share:
            return items, scores, 0
        phases = fractions(user_keys("new items", user_ids, self.seed, self.date))
        items, scores, order = lift_new(items, scores, self.is_new, self.new_share, phases)
        return items, scores, int((order[:, :top_k] >= top_k).sum())

    def _choose(self, items: Ints, scores: Floats, num: int) -> tuple[Ints, Floats, int]:
        """Columns [B, num] of the candidates that stand by merit, their values, and how many diversity brought in."""
        if self.directions is None:
            columns = np.broadcast_to(np.arange(num), (len(items), num))
            return columns, scores[:, :num], 0
        pool = max(self.config.pool, num)
        columns, values = select_diverse(items[:, :pool], scores[:, :pool], self.directions, num, self.config.diversity)
        return columns, values, int(((columns >= num) & (values > -np.inf)).sum())

    def _draw(self, user_ids: pa.Array | pa.ChunkedArray, items: Ints, columns: Ints, values: Floats, num: int) -> Ints:
        """Columns [B, num] drawn from the candidates that do not stand by merit; −1 where there are fewer."""
        waiting = items >= 0
        users, places = np.nonzero(values > -np.inf)
        waiting[users, columns[users, places]] = False
        return draw(items, waiting, user_keys("exploration", user_ids, self.seed, self.date), num)
