"""What the signals count over the shards equals what is counted at once over all events of a view."""

import datetime as dt
from collections.abc import Callable
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest

from recsys.data.histories import rank_ids, sort_interactions
from recsys.model.features import index_items
from recsys.pipeline.run import Protocol, Run
from recsys.pipeline.scoring import load_snapshot
from recsys.pipeline.scoring.count_signals import count_signals, read_counts, shard_events
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.schema import INTERACTIONS
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import AVERAGE_WEEK, HORIZONS, LoadedPopularity
from recsys.signals.registry import SIGNALS
from recsys.signals.signal import DataView
from recsys.signals.transitions import count_transitions, strongest_transitions, sum_pairs

IDS = [f"i{number:02}" for number in range(12)]
DAY = dt.timedelta(days=1)
#: Settings of the runs of conftest.py.
MAX_EVENTS, EASE_ITEMS, L2, HALF_LIFE, NEIGHBOURS = 6, 10, 3.0, 8.0, 5
MakeRun = Callable[..., Run]
Draw = Callable[..., pa.Table]
Matrix = npt.NDArray[np.float64]


def seen_from(run: Run, events: pa.Table, view: DataView) -> tuple[pa.Table, dt.datetime]:
    """By the definition of the views: a backtest by leave-one-out never sees the held-out events."""
    if view == "validation":
        return run.validation_split(events).train, run.cutoff
    if view == "test" or run.protocol == "leave-one-out":
        return run.split(events).train, run.cutoff
    return events, run.end


def neighbours(run: Run, name: str, view: DataView) -> tuple[Matrix, Matrix]:
    """[I, I] weights on both time scales."""
    found = Neighbours.from_table(read_counts(run, SIGNALS[name], view), len(IDS))
    item = np.repeat(np.arange(len(IDS)), np.diff(found.starts))
    weights = np.zeros((2, len(IDS), len(IDS)))
    weights[:, item, found.others] = found.weights.T
    return weights[0], weights[1]


def newest(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame.groupby("user_id").cumcount(ascending=False) < MAX_EVENTS]


def transitions_at_once(run: Run, events: pa.Table, now: dt.datetime) -> tuple[Matrix, Matrix]:
    """The transitions of all users' newest events, without shards and ranges."""
    frame, config = newest(events.to_pandas()), run.config.transitions
    events = pa.Table.from_pandas(frame, INTERACTIONS, preserve_index=False)
    age = np.array([(now - moment) / DAY for moment in events["timestamp"].to_pylist()])
    users, items = rank_ids(events["user_id"])[1], index_items(events["item_id"], pa.array(IDS))
    weights = np.asarray(events["weight"]).astype(np.float64)
    counts = count_transitions(
        users,
        items,
        age,
        weights,
        num_items=len(IDS),
        window=config.window,
        half_life_days=config.half_life_days,
    )
    kept = strongest_transitions(counts, sum_pairs([counts], len(IDS)), config.neighbours)
    found = np.zeros((2, len(IDS), len(IDS)))
    for row in kept.to_pylist():
        found[:, row["item"], row["other"]] = row["all_time"], row["decayed"]
    return found[0], found[1]


def ease_at_once(frame: pd.DataFrame, now: dt.datetime, items: list[str]) -> tuple[Matrix, Matrix]:
    """B [I, I] of both time scales over all users' newest events, by the formula of the paper."""
    frame = newest(frame)
    l2 = L2 * frame.groupby(["user_id", "item_id"]).weight.max().astype(np.float64).mean()
    frame = frame[frame.item_id.isin(items)]
    age = (now - frame.timestamp) / DAY
    found = []
    root = np.sqrt(frame.weight.astype(np.float64))
    for values in (frame.assign(x=root), frame.assign(x=root * 0.5 ** (age / HALF_LIFE))):
        rows = values.pivot_table(index="user_id", columns="item_id", values="x", aggfunc="max", fill_value=0.0)
        x = rows.reindex(columns=items, fill_value=0.0).to_numpy()
        inverse = np.linalg.inv(x.T @ x + l2 * np.eye(len(items)))
        whole, places = np.zeros((len(IDS), len(IDS))), [IDS.index(item) for item in items]
        whole[np.ix_(places, places)] = np.eye(len(items)) - inverse / np.diag(inverse)
        found.append(whole)
    return found[0], found[1]


def weighted(events: pa.Table) -> pa.Table:
    """The events with weights between 0.1 and 5."""
    weights = np.random.default_rng(3).integers(1, 51, len(events)) / 10
    return events.set_column(
        events.column_names.index("weight"), INTERACTIONS.field("weight"), pa.array(weights, pa.float32())
    )


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_transitions_and_ease_equal_those_of_all_events_at_once(
    make_night: MakeRun, draw_events: Draw, protocol: Protocol, with_weights: bool
) -> None:
    events = weighted(draw_events(600, days=90)) if with_weights else draw_events(600, days=90)
    run = make_night(events, protocol)
    record = count_signals(run)
    assert record.rows == len(events)
    for view in get_args(DataView):
        seen, now = seen_from(run, events, view)
        for own, expected in zip(
            neighbours(run, "transitions", view), transitions_at_once(run, seen, now), strict=True
        ):
            np.testing.assert_allclose(own, expected, rtol=1e-4)
            assert (np.count_nonzero(own, axis=1) <= 4).all()
        ease = neighbours(run, "ease", view)
        items = sorted({IDS[row] for row in np.nonzero(ease[0])[0]})
        assert len(items) == EASE_ITEMS, "no more items than it was asked for"
        for own, expected in zip(ease, ease_at_once(seen.to_pandas(), now, items), strict=True):
            kept = own > 0
            np.testing.assert_allclose(own[kept], expected[kept], rtol=1e-3, atol=1e-6)
            largest = np.sort(expected, axis=1)[:, ::-1][:, :NEIGHBOURS]
            own_largest = np.sort(own, axis=1)[:, ::-1][:, :NEIGHBOURS]
            np.testing.assert_allclose(own_largest, np.maximum(largest, 0), rtol=1e-3, atol=1e-6)
            assert not own.diagonal().any(), "no weight of an item to itself"
    assert record.merged["transitions"] == np.count_nonzero(np.maximum(*neighbours(run, "transitions", "full")))


def test_held_out_baskets_are_not_counted_for_validation(make_night: MakeRun, draw_events: Draw) -> None:
    """An item that is only in held-out baskets leads nowhere in the validation view."""
    events = draw_events(600, days=90).to_pandas()
    run = make_night(pa.Table.from_pandas(events, INTERACTIONS, preserve_index=False), validation_users=1000)
    kept = run.validation_split(pa.Table.from_pandas(events, INTERACTIONS, preserve_index=False)).holdout.to_pandas()
    assert kept.user_id.nunique() > 20
    mine = pd.MultiIndex.from_frame(events[["user_id", "timestamp"]])
    last = mine.isin(pd.MultiIndex.from_frame(kept[["user_id", "timestamp"]]))
    events.loc[events.item_id == "i11", "item_id"] = "i10"
    events.loc[last, "item_id"] = "i11"
    table = sort_interactions(pa.Table.from_pandas(events, INTERACTIONS, preserve_index=False))[0]
    run = make_night(table, validation_users=1000, settings={"ease": {"items": 12, "l2": 3.0}})
    count_signals(run)
    for name in ("transitions", "ease"):
        unseen, seen = (neighbours(run, name, view)[0] for view in ("validation", "test"))
        assert not unseen[11].any()
        assert not unseen[:, 11].any()
        assert seen[11].any()
    validation = read_counts(run, SIGNALS["repeat"], "validation")
    assert validation["users"].to_pylist()[11] == 0


@pytest.mark.parametrize("view", get_args(DataView))
def test_later_events_change_nothing_that_a_view_counts(make_night: MakeRun, draw_events: Draw, view: DataView) -> None:
    """For each registered signal: the events after the end of the view are not in its shard."""
    run = make_night(draw_events(300, days=30))
    table = draw_events(300, days=30)
    events = shard_events(run, table, view, pa.array(IDS))
    end = run.end if view == "full" else run.cutoff
    assert max(events.interactions["timestamp"].to_pylist()) < end
    assert (events.age_days > 0).all()


def test_ease_may_be_off_or_read_a_sample_of_the_users(make_night: MakeRun, draw_events: Draw) -> None:
    run = make_night(draw_events(100, days=40), settings={"ease": {"items": 0}})
    assert count_signals(run).merged["ease"] == 0
    events = draw_events(600, days=40)
    whole, sample = make_night(events), make_night(events, settings={"ease": {"users": 1, "items": 10, "l2": 3.0}})
    count_signals(whole)
    everyone = neighbours(whole, "ease", "full")[0]
    count_signals(sample)
    assert not np.array_equal(neighbours(sample, "ease", "full")[0], everyone)


def rates(known: pd.DataFrame, day: int, oldest: int) -> Matrix:
    """[H, I] log-popularity as a day begins, one horizon at a time."""
    days = (known.timestamp.astype("int64") // (86_400 * 10**6)).to_numpy()
    found = []
    for length in HORIZONS.values():
        reach = min(length or 10**6, max(day - oldest, 7))
        there = known[(days < day) & (days >= day - reach)]
        weights = there.groupby("item_id").weight.sum().reindex(IDS, fill_value=0) / known.weight.astype(float).mean()
        found.append(weights.to_numpy() * 7 / reach)
    found[0] = found[0] + AVERAGE_WEEK * found[-1]
    return np.log1p(np.array(found))


def popularity_of(run: Run, view: DataView) -> LoadedPopularity:
    signal = SIGNALS["popularity"]
    night = load_snapshot.Night(run, "no model", run.config.recommend, view)
    night.item_ids, night.recommendable = pa.array(IDS), np.ones(len(IDS), dtype=bool)
    loaded = signal.load(load_snapshot.SignalSource(night, signal))
    assert isinstance(loaded, LoadedPopularity)
    return loaded


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_the_popularity_of_a_day_counts_the_days_before_it(
    make_night: MakeRun, draw_events: Draw, protocol: Protocol, with_weights: bool
) -> None:
    events = weighted(draw_events(600, days=150)) if with_weights else draw_events(600, days=150)
    run = make_night(events, protocol)
    count_signals(run)
    found, oldest = popularity_of(run, "validation"), int(min(events["timestamp"].to_pylist()).timestamp() // 86_400)
    past = run.split(events).train.to_pandas()
    assert found.days[-1] == int(run.cutoff.timestamp() // 86_400)
    assert len(found.popularity) == len(found.days) == run.record(SHUFFLE_HISTORIES).validation.days + 1
    for day, row in zip(found.days.tolist(), found.popularity, strict=True):
        np.testing.assert_allclose(row, rates(past, day, oldest), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.popularity[-1:], popularity_of(run, "test").popularity)
    full, seen = popularity_of(run, "full"), (past if protocol == "leave-one-out" else events.to_pandas())
    day = int(run.end.timestamp() // 86_400)
    np.testing.assert_allclose(full.popularity[0], rates(seen, day, oldest), rtol=1e-5, atol=1e-6)


def test_of_very_many_days_some_are_held(
    make_night: MakeRun, draw_events: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_night(draw_events(300, days=30))
    count_signals(run)
    every = popularity_of(run, "validation")
    monkeypatch.setattr(load_snapshot, "MOST_DAYS", 4)
    some = popularity_of(run, "validation")
    assert 2 <= len(some.popularity) <= 4
    assert some.days[0] == every.days[0]
    assert len(set(np.diff(some.days).tolist())) == 1
    np.testing.assert_array_equal(some.popularity, every.popularity[np.isin(every.days, some.days)])
