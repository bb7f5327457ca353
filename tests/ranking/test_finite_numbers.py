"""A signal of a plugin that gives a number that is none is named; it neither ends the process nor spoils the lists."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from recsys.ranking.lists import recommend_batch
from recsys.ranking.rules.user_rule import ItemLifts, UserActions
from recsys.ranking.snapshot import Snapshot
from recsys.signals.signal import LoadedSignal
from recsys.signals.users import UserBlock
from tests.ranking.test_lists import as_histories, config, make_snapshot, scored

HISTORIES = as_histories([(["i00", "i04"], []), ([], []), (["i05"], ["i06"])])


class Price(LoadedSignal):
    """The price of an item; NaN where none is known."""

    def __init__(self, prices: npt.NDArray[np.float32], *, costly: bool = False) -> None:
        self.prices = prices
        if costly:
            self.most_candidates = 20

    def measure(self, users: UserBlock, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """NaN also for what is no candidate."""
        return np.where(items >= 0, self.prices[items], np.float32(np.nan))[:, :, None]


def with_prices(prices: npt.NDArray[np.float32], *, costly: bool = False) -> Snapshot:
    plain = make_snapshot()
    return replace(plain, signals={**plain.signals, "lm": Price(prices, costly=costly)})


@pytest.mark.parametrize("costly", [False, True])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_the_signal_and_the_item_are_named(value: float, costly: bool) -> None:
    prices = np.ones(12, dtype=np.float32)
    prices[7] = value
    snapshot = with_prices(prices, costly=costly)
    snapshot = replace(snapshot, fusion=replace(snapshot.fusion, weights=snapshot.fusion.weights | {"lm": 0.1}))
    with pytest.raises(ValueError, match=rf"signal 'lm': its number 'lm' is {value} for the item 'i07'.*must be finit"):
        scored(snapshot, HISTORIES, config())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_user_rule_and_the_item_are_named(value: float) -> None:
    def lift(actions: UserActions) -> ItemLifts:
        lifts = np.array([0.5, value, 0.5], dtype=np.float32)[: actions.num_users]
        return ItemLifts(users=np.arange(actions.num_users), items=np.array([2, 7, 7])[: len(lifts)], lifts=lifts)

    plain = make_snapshot()
    snapshot = replace(plain, reranker=replace(plain.reranker, lifters={"price": lift}))
    with pytest.raises(ValueError, match=rf"user rule 'price': it adds {value} to the score of the item 'i07'"):
        recommend_batch(snapshot, HISTORIES, config())
    assert len(recommend_batch(snapshot, HISTORIES.slice(0, 1), config()).lists), "it fails for the other user only"


def test_what_is_no_candidate_may_have_any_number() -> None:
    found = scored(with_prices(np.ones(12, dtype=np.float32)), HISTORIES, config())
    assert (found.items < 0).any()
    np.testing.assert_array_equal(found.numbers[:, :, -1], found.items >= 0)
