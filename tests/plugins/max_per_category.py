"""A re-ranking rule of a user's own: at most N items of a category in a list, as long as others are left."""

from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from recsys.config.section import Positive, Section
from recsys.ranking.rules.registry import RULES
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder


class MaxPerCategorySettings(Section):
    """The section `rerank.rules.max_per_category`."""

    most: Positive = 3
    """Items of a category in a list, at most."""


class MaxPerCategory(ListRule[MaxPerCategorySettings]):
    """Moves an item behind all others where `most` items of its category stand above it."""

    name = "max_per_category"
    summary = "At most N items of a category stand in a list, as long as others are left."
    settings = MaxPerCategorySettings

    def prepare(self, settings: MaxPerCategorySettings, facts: NightFacts) -> Reorder:
        """Number the categories of the catalog once for a night."""
        codes = pc.dictionary_encode(facts.attribute("category")).combine_chunks().indices
        return partial(_keep_most, category_of_item=np.asarray(pc.fill_null(codes, -1)), most=settings.most)


def _keep_most(batch: RankedBatch, category_of_item: npt.NDArray[np.int32], most: int) -> tuple[RankedBatch, int]:
    """A function of a batch: the users' candidates [B, C] in a new order, and how many items entered the lists."""
    categories = np.where(batch.items >= 0, category_of_item[batch.items], -1)  # [B, C], −1: none
    by_category = np.argsort(categories, axis=1, kind="stable")
    ordered = np.take_along_axis(categories, by_category, 1)
    too_many = np.zeros(ordered.shape, dtype=bool)
    too_many[:, most:] = (ordered[:, most:] == ordered[:, :-most]) & (ordered[:, most:] >= 0)
    demoted = np.empty_like(too_many)
    np.put_along_axis(demoted, by_category, too_many, 1)
    return batch.demote(demoted)


RULES.register(MaxPerCategory())
