"""What the lists of a night look like together: how they spread over the catalog, and which scores they have.

Shapes: R rows of lists, I items, S bins of scores.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from recsys.config.strict_json import STRICT
from recsys.data.item_counts import head_items
from recsys.evaluation.metrics.gini import Gini

Ints = npt.NDArray[np.int64]

#: Bins of scores: their width, the lower edge of the first, and their number. A score is a logarithm of a probability;
#: what is outside is counted in the first or the last bin.
BIN_WIDTH, LOWEST, NUM_BINS = 0.25, -25.0, 100
#: The items that are shown most, of which `Concentration` says the share of all places.
TOP_PERCENT = 1


@dataclass(frozen=True, kw_only=True)
class Concentration:
    """How unequally the lists show the catalog."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    gini: float
    """0: all items are shown equally often, 1: only one is shown."""
    top_share: float
    """Share of all places that the most shown percent of the catalog has."""
    longtail_share: float
    """Share of all places that are outside the short head, see `recsys.data.item_counts.head_items`."""


@dataclass(frozen=True, kw_only=True)
class ScoreCounts:
    """How many scores are in each bin; bins without any at both ends are left out."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    lowest: float
    """Lower edge of the first bin."""
    width: float
    """Of each bin."""
    first: list[int]
    """Scores of first places."""
    others: list[int]
    """Scores of all other places."""


def concentration(shown: Ints, num_interactions: Ints) -> Concentration:
    """How the places of all lists spread over the catalog.

    Args:
        shown: [I] in how many lists each item is.
        num_interactions: [I] by which the short head is chosen.

    >>> concentration(np.array([6, 2, 0, 0]), np.array([9, 1, 0, 0]))
    Concentration(gini=0.8333, top_share=0.75, longtail_share=0.25)
    """
    total = max(int(shown.sum()), 1)
    most = np.sort(shown)[::-1][: -(-len(shown) * TOP_PERCENT // 100)]
    return Concentration(
        gini=round(Gini().value(shown), 4),
        top_share=round(int(most.sum()) / total, 4),
        longtail_share=round(int(shown[~head_items(num_interactions)].sum()) / total, 4),
    )


def bin_scores(scores: npt.NDArray[np.floating], first: npt.NDArray[np.bool_]) -> Ints:
    """Counts [2, S] of scores [R]: of first places (a mask [R]), and of the others. NaN and infinity are left out."""
    finite = np.isfinite(scores)
    bins = np.clip((scores[finite].astype(np.float64) - LOWEST) // BIN_WIDTH, 0, NUM_BINS - 1).astype(np.int64)
    rows = np.where(first[finite], 0, 1)
    return np.bincount(rows * NUM_BINS + bins, minlength=2 * NUM_BINS).reshape(2, NUM_BINS)


def as_score_counts(bins: Ints) -> ScoreCounts | None:
    """The counts [2, S] without empty bins at the ends; None where there is no score."""
    used = np.flatnonzero(bins.sum(axis=0))
    if not len(used):
        return None
    kept = bins[:, used[0] : used[-1] + 1].tolist()
    return ScoreCounts(lowest=LOWEST + used[0].item() * BIN_WIDTH, width=BIN_WIDTH, first=kept[0], others=kept[1])
