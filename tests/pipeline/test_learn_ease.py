"""The linear model of a night equals one that is solved at once over all its events."""

import datetime as dt
from collections.abc import Callable
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recsys.data.histories import sort_interactions
from recsys.pipeline.count_priors import count_priors
from recsys.pipeline.learn_ease import learn_linear, load_linear
from recsys.pipeline.run import DataView, Protocol, Run
from recsys.schema import INTERACTIONS

IDS = [f"i{number:02}" for number in range(12)]
DAY = dt.timedelta(days=1)
#: Of the conftest's nights.
MAX_EVENTS, ITEMS, RIDGE, HALF_LIFE, NEIGHBOURS = 6, 10, 3.0, 8.0, 5
Night_ = Callable[..., Run]
Draw = Callable[..., pa.Table]


def at_once(frame: pd.DataFrame, now: dt.datetime, items: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """B [I, I] of both time scales over all users' newest events, by the textbook's formula."""
    frame = frame[frame.groupby("user_id").cumcount(ascending=False) < MAX_EVENTS]
    frame = frame[frame.item_id.isin(items)]
    age = (now - frame.timestamp) / DAY
    tables = [frame.assign(x=1.0), frame.assign(x=0.5 ** (age / HALF_LIFE))]
    found = []
    for table in tables:
        rows = table.pivot_table(index="user_id", columns="item_id", values="x", aggfunc="max", fill_value=0.0)
        x = rows.reindex(columns=items, fill_value=0.0).to_numpy()
        inverse = np.linalg.inv(x.T @ x + RIDGE * np.eye(len(items)))
        weights = np.eye(len(items)) - inverse / np.diag(inverse)
        whole = np.zeros((len(IDS), len(IDS)))
        places = [IDS.index(item) for item in items]
        whole[np.ix_(places, places)] = weights
        found.append(whole)
    return found[0], found[1]


@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_weights_equal_those_solved_at_once(make_night: Night_, draw_events: Draw, protocol: Protocol) -> None:
    events = draw_events(600, days=40)
    run = make_night(events, protocol)
    count_priors(run)
    record = learn_linear(run)
    assert (record.users, record.items) == (pc.count_distinct(events["user_id"]).as_py(), ITEMS)
    for view in get_args(DataView):
        seen, now = run.seen_from(events, view)
        found = load_linear(run, view)
        items = sorted({IDS[row] for row in found.weights.real.nonzero()[0]})
        assert len(items) == ITEMS, "the model knows no more than it was asked to"
        for own, expected in zip(
            (found.weights.real, found.weights.imag), at_once(seen.to_pandas(), now, items), strict=True
        ):
            own = own.toarray()
            kept = own > 0
            np.testing.assert_allclose(own[kept], expected[kept], rtol=1e-3, atol=1e-6)
            largest = np.sort(expected, axis=1)[:, ::-1][:, :NEIGHBOURS]
            np.testing.assert_allclose(
                np.sort(own, axis=1)[:, ::-1][:, :NEIGHBOURS], np.maximum(largest, 0), rtol=1e-3, atol=1e-6
            )
            assert not own.diagonal().any(), "an item does not speak for itself"


def test_what_validation_is_measured_on_is_not_learned(make_night: Night_, draw_events: Draw) -> None:
    """A pair of items that stand together only in the moments kept from training says nothing when validation looks."""
    events = draw_events(600, days=90).to_pandas()
    events.loc[events.item_id == "i11", "item_id"] = "i10"
    last = events.groupby("user_id").timestamp.transform("max") == events.timestamp
    extra = events[last].drop_duplicates("user_id").assign(item_id="i11")
    table = pa.Table.from_pandas(pd.concat([events, extra]), INTERACTIONS, preserve_index=False)
    run = make_night(sort_interactions(table)[0], validation_users=1000)
    count_priors(run)
    learn_linear(run)
    kept = run.validation_split(sort_interactions(table)[0])
    assert "i11" in kept.holdout["item_id"].to_pylist()
    unseen, seen = (load_linear(run, view).weights.real.toarray() for view in ("validation", "full"))
    only_held_out = "i11" not in kept.train["item_id"].to_pylist()
    assert not only_held_out or not unseen[:, 11].any()
    assert seen[:, 11].any()


def test_a_model_of_no_items_says_nothing(make_night: Night_, draw_events: Draw) -> None:
    run = make_night(draw_events(100, days=40), settings={"linear": {"items": 0}})
    count_priors(run)
    assert learn_linear(run).pairs == 0
    assert load_linear(run, "full").weights.imag.nnz == 0


def test_enough_users_are_enough(make_night: Night_, draw_events: Draw) -> None:
    events = draw_events(600, days=40)
    run = make_night(events, settings={"linear": {"users": 1}})
    count_priors(run)
    assert 1 <= learn_linear(run).users < pc.count_distinct(events["user_id"]).as_py()
