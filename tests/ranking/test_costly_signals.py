"""A costly signal measures a user's best candidates by all other signals, and nobody whose number nothing reads."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from recsys.ranking.fusion import Fusion
from recsys.ranking.similar_items import of_related_items
from recsys.signals.signal import LoadedSignal
from recsys.signals.users import UserBlock
from tests.ranking.random_trees import random_trees
from tests.ranking.test_lists import as_histories, config, make_snapshot, scored

HISTORIES = as_histories([(["i00", "i04"], []), ([], []), (["i05"], ["i06"])])
MOST = 3


class Judge(LoadedSignal):
    """Says 1 for all that it is asked for, and remembers it."""

    most_candidates = MOST

    def __init__(self) -> None:
        self.asked: list[npt.NDArray[np.int64]] = []

    def measure(self, users: UserBlock, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """All are 1, also what is no candidate."""
        self.asked.append(items)
        return np.ones((*items.shape, 1), dtype=np.float32)


@pytest.mark.parametrize("weight", [0.5, -2.0])
def test_the_best_candidates_by_the_others_are_measured(weight: float) -> None:
    judge, plain = Judge(), make_snapshot()
    weights = plain.fusion.weights | {"lm": weight}
    judged = replace(plain, signals={**plain.signals, "lm": judge}, fusion=replace(plain.fusion, weights=weights))
    before, after = (scored(snapshot, HISTORIES, config()) for snapshot in (plain, judged))
    np.testing.assert_array_equal(after.items, before.items)
    np.testing.assert_array_equal(after.numbers[:, :, :-1], before.numbers)
    own = judged.fusion.vector(judged.columns)[:-1]
    for numbers, there in zip(after.numbers, after.items >= 0, strict=True):
        scores = np.where(there, numbers[:, :-1] @ own, -np.inf)
        best = np.argsort(-scores, kind="stable")[:MOST]
        expected = np.isin(np.arange(len(there)), best) & there
        np.testing.assert_array_equal(numbers[:, -1], expected.astype(np.float32))
    (asked,) = judge.asked
    assert ((asked >= 0).sum(axis=1) <= MOST).all()


def test_it_is_not_asked_where_nothing_reads_the_number() -> None:
    judge, plain = Judge(), make_snapshot()
    snapshot = replace(plain, signals={**plain.signals, "lm": judge}, fusion=Fusion(weights={"popularity": 1.0}))
    assert not scored(snapshot, HISTORIES, config()).numbers[:, :, -1].any()
    assert "lm" not in of_related_items(snapshot).signals
    assert not judge.asked
    trees = random_trees(snapshot.columns)
    snapshot = replace(snapshot, fusion=replace(snapshot.fusion, trees=trees))
    assert scored(snapshot, HISTORIES, config()).numbers[:, :, -1].any()
