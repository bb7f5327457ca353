"""Transitions and daily popularity of a night equal those counted at once over all its events.

The parts run here one by one in this process; the job's tests run them on Ray.
"""

import datetime as dt
from collections.abc import Callable
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys.data.histories import rank_ids, sort_interactions
from recsys.model.features import index_items
from recsys.pipeline import count_priors as priors
from recsys.pipeline.count_priors import count_priors, load_daily_popularity, load_popularity, load_transitions
from recsys.pipeline.run import DataView, Protocol, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.schema import INTERACTIONS
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import HORIZONS, USUAL_WEEK
from recsys.signals.transitions import count_transitions, strongest_transitions, total_transitions

IDS = [f"i{number:02}" for number in range(12)]
MAX_EVENTS = 6  # of the conftest's nights, as are the items
DAY = dt.timedelta(days=1)
Night_ = Callable[..., Run]
Draw = Callable[..., pa.Table]


def seen_from(run: Run, events: pa.Table, view: DataView) -> tuple[pa.Table, dt.datetime]:
    match view:
        case "validation":
            return run.validation_split(events).train, run.cutoff
        case "test":
            return run.split(events).train, run.cutoff
        case "full":
            return events, run.end


def at_once(run: Run, events: pa.Table, now: dt.datetime) -> Neighbours:
    """The transitions of all users' newest events, without shards and ranges."""
    frame = events.to_pandas()
    newest = pa.array(frame.groupby("user_id").cumcount(ascending=False).to_numpy() < MAX_EVENTS)
    events, config = events.filter(newest), run.config.transitions
    age = np.array([(now - moment) / DAY for moment in events["timestamp"].to_pylist()])
    users, items = rank_ids(events["user_id"])[1], index_items(events["item_id"], pa.array(IDS))
    counts = count_transitions(users, items, age, len(IDS), config.window, config.half_life_days)
    kept = strongest_transitions(counts, total_transitions(counts, len(IDS)), config.neighbours)
    return Neighbours.from_table(kept, len(IDS))


@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_transitions_equal_those_counted_at_once(make_night: Night_, draw_events: Draw, protocol: Protocol) -> None:
    events = draw_events(600, days=90)
    run = make_night(events, protocol)
    record = count_priors(run)
    assert record.rows == len(events)
    for view in get_args(DataView):
        found = load_transitions(run, view)
        expected = at_once(run, *seen_from(run, events, view))
        for part in ("real", "imag"):
            own, other = (getattr(neighbours.weights, part).toarray() for neighbours in (found, expected))
            np.testing.assert_allclose(own, other, rtol=1e-4)
            assert (np.count_nonzero(own, axis=1) <= 4).all()
    assert record.pairs == load_transitions(run, "full").weights.real.nnz


def test_what_validation_is_measured_on_is_not_counted(make_night: Night_, draw_events: Draw) -> None:
    """An item that is only in the moments kept from training leads nowhere when validation looks."""
    events = draw_events(600, days=90).to_pandas()
    run = make_night(pa.Table.from_pandas(events, INTERACTIONS, preserve_index=False), validation_users=1000)
    kept = run.validation_split(pa.Table.from_pandas(events, INTERACTIONS, preserve_index=False)).holdout.to_pandas()
    assert kept.user_id.nunique() > 20
    mine = pd.MultiIndex.from_frame(events[["user_id", "timestamp"]])
    last = mine.isin(pd.MultiIndex.from_frame(kept[["user_id", "timestamp"]]))
    events.loc[events.item_id == "i11", "item_id"] = "i10"
    events.loc[last, "item_id"] = "i11"
    table = sort_interactions(pa.Table.from_pandas(events, INTERACTIONS, preserve_index=False))[0]
    run = make_night(table, validation_users=1000)
    count_priors(run)
    unseen, seen = (load_transitions(run, view).weights.real.toarray() for view in ("validation", "test"))
    assert not unseen[11].any()
    assert not unseen[:, 11].any()
    assert seen[11].any()


def rates(known: pd.DataFrame, day: int, oldest: int) -> np.ndarray:
    """[H, I] log-popularity as a day begins, one horizon at a time."""
    days = (known.timestamp.astype("int64") // (86_400 * 10**6)).to_numpy()
    found = []
    for length in HORIZONS.values():
        reach = min(length or 10**6, max(day - oldest, 7))
        there = known[(days < day) & (days >= day - reach)]
        found.append(there.groupby("item_id").size().reindex(IDS, fill_value=0).to_numpy() * 7 / reach)
    found[0] = found[0] + USUAL_WEEK * found[-1]
    return np.log1p(found)


def oldest_day(events: pa.Table) -> int:
    return int(min(events["timestamp"].to_pylist()).timestamp() // 86_400)


@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_popularity_of_a_day_is_that_of_the_days_before_it(
    make_night: Night_, draw_events: Draw, protocol: Protocol
) -> None:
    events = draw_events(600, days=150)
    run = make_night(events, protocol)
    count_priors(run)
    found, days = load_daily_popularity(run, pa.array(IDS))
    past = run.split(events).train.to_pandas()
    assert days[-1] == int(run.cutoff.timestamp() // 86_400)
    assert len(found) == len(days) == run.record(SHUFFLE_HISTORIES).validation.days + 1
    for day, row in zip(days.tolist(), found, strict=True):
        np.testing.assert_allclose(row, rates(past, day, oldest_day(events)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[-1:], load_popularity(run, "test", pa.array(IDS)))


def test_of_very_many_days_some_are_looked_at(
    make_night: Night_, draw_events: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_night(draw_events(300, days=30))
    count_priors(run)
    every, each_day = load_daily_popularity(run, pa.array(IDS))
    monkeypatch.setattr(priors, "MOST_MOMENTS", 4)
    some, days = load_daily_popularity(run, pa.array(IDS))
    assert 2 <= len(some) <= 4
    assert days[0] == each_day[0]
    assert len(set(np.diff(days).tolist())) == 1
    np.testing.assert_array_equal(some, every[np.isin(each_day, days)])


def test_popularity_is_of_what_may_be_known(make_night: Night_, draw_events: Draw) -> None:
    events = draw_events(300, days=30)
    run = make_night(events)
    count_priors(run)
    frame, now = events.to_pandas(), {"test": run.cutoff, "validation": run.cutoff, "full": run.end}
    for view, moment in now.items():
        expected = rates(frame[frame.timestamp < moment], int(moment.timestamp() // 86_400), oldest_day(events))
        found = load_popularity(run, view, pa.array(IDS))
        np.testing.assert_allclose(found, expected[None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("wanted", "days"), [(1, 7), (30, 14), (1000, 7 * 2**10)])
def test_validation_looks_as_far_back_as_it_must(make_night: Night_, draw_events: Draw, wanted: int, days: int) -> None:
    """The shortest span that holds enough users; everybody there is, where there are too few."""
    events = draw_events(300, days=60)
    run = make_night(events, validation_users=wanted)
    chosen = run.record(SHUFFLE_HISTORIES).validation
    past = run.split(events).train.to_pandas()
    times = past.groupby("user_id").timestamp.agg(["min", "max"])
    recent = times[(times["min"] < times["max"]) & (times["max"] >= run.cutoff - chosen.days * DAY)]
    assert chosen.days == days
    assert chosen.share == min(1.0, wanted / len(recent))
    held_out = run.validation_split(events).holdout.to_pandas()
    if chosen.share == 1:
        assert set(held_out.user_id) == set(recent.index)
    else:
        assert set(held_out.user_id) < set(recent.index)
    last = past.groupby("user_id").timestamp.max()
    assert (held_out.timestamp == held_out.user_id.map(last)).all()
