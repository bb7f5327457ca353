"""The lists of users who are in different variants of experiments.

Shapes: B users, N places of all lists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.assignment import DEFAULT_VARIANT, assign_arms, variant_of
from recsys.model.features import UserTexts
from recsys.ranking.config import RecommendConfig
from recsys.ranking.constraints import RequestConstraints
from recsys.ranking.experiment_config import Experiment
from recsys.ranking.lists import Recommended, recommend_batch
from recsys.ranking.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Variants:
    """The snapshots by which the users of each variant are ranked."""

    experiments: Sequence[Experiment]
    snapshots: Mapping[str, Snapshot]
    """By the name of the variant. The default is always there."""
    candidates: Mapping[str, int]
    """Items retrieved for a user in the variants that change their number."""

    @property
    def default(self) -> Snapshot:
        """The snapshot of users who are in no experiment."""
        return self.snapshots[DEFAULT_VARIANT]

    def with_texts(self, texts: UserTexts) -> "Variants":
        """See `Snapshot.with_texts`."""
        return replace(self, snapshots={name: snapshot.with_texts(texts) for name, snapshot in self.snapshots.items()})

    def names_of(self, user_ids: pa.Array | pa.ChunkedArray) -> list[str]:
        """The variant of each user [B]. An anonymous user, who has the id "", is in no experiment."""
        arms = [assign_arms(user_ids, one.split_by, one.shares) for one in self.experiments]
        known = np.asarray(user_ids) != ""
        names = []
        for user in range(len(known)):
            chosen = zip(self.experiments, (int(each[user]) for each in arms), strict=True)
            pairs = [(one.name, one.arms[arm].name) for one, arm in chosen if arm >= 0 and known[user]]
            names.append(variant_of(pairs))
        return names


def recommend_variants(
    variants: Variants,
    histories: pa.Table,
    config: RecommendConfig,
    constraints: RequestConstraints | None = None,
    user_ids: pa.Array | pa.ChunkedArray | None = None,
) -> Recommended:
    """The lists of B users, see `recommend_batch`: each is made by the snapshot of the user's variant.

    Args:
        variants: The night.
        histories: HISTORIES table of B users.
        config: List length, candidates, what is left out.
        constraints: Of the same users; None: there are none.
        user_ids: [B] by which the users are split; None: those of the histories.
    """
    if not variants.experiments or not len(histories):
        return recommend_batch(variants.default, histories, config, constraints)
    names = np.array(variants.names_of(histories["user_id"] if user_ids is None else user_ids))
    parts = []
    for name in np.unique(names).tolist():
        rows = np.flatnonzero(names == name)
        num = variants.candidates.get(name, config.candidates)
        recommended = recommend_batch(
            variants.snapshots[name],
            histories.take(pa.array(rows)),
            config.model_copy(update={"candidates": max(num, config.top_k)}),
            constraints and constraints.rows(rows),
        )
        parts.append(_of_variant(recommended, name, rows))
    return Recommended.together(parts)


def _of_variant(recommended: Recommended, name: str, rows: npt.NDArray[np.int64]) -> Recommended:
    """With the variant's name, and users as rows of the whole batch."""
    lists = recommended.lists
    place = lists.schema.get_field_index("variant")
    named = lists.set_column(place, lists.schema.field(place), pa.repeat(name, len(lists)))
    return replace(recommended, lists=named, users=rows[recommended.users])
