"""Impressions are split off by their kind, and histories keep those that the user did not follow."""

import datetime as dt

import pyarrow as pa
import pytest

from recsys.data.events.event_kinds import EventKinds
from recsys.data.events.impressions import MOST_SERVED, split_impressions, with_served
from recsys.data.histories import build_histories, sort_interactions
from recsys.errors import ConfigError
from recsys.schema import INTERACTIONS
from recsys.settings import decode_config

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
#: (user, item, kind, day)
EVENTS = [
    ("a", "i1", "Impression", 1),
    ("a", "i1", "impression", 2),
    ("a", "i1", "view", 3),
    ("a", "i1", "impression", 4),
    ("a", "i2", "impression", 1),
    ("a", "i2", "impression", 5),
    ("b", "i3", "impression", 2),
    ("c", "i3", "view", 2),
]


def table(events: list[tuple[str, str, str, int]], weight: float = 0.0) -> pa.Table:
    rows = [
        {"user_id": user, "item_id": item, "event": kind, "timestamp": START + dt.timedelta(days=day)}
        | {"weight": 1.0 if kind == "view" else weight}
        for user, item, kind, day in events
    ]
    return sort_interactions(pa.Table.from_pylist(rows, schema=INTERACTIONS))[0]


@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_impressions_are_split_off_whatever_their_weight(weight: float) -> None:
    others, shown = split_impressions(table(EVENTS, weight))
    assert set(others["event"].to_pylist()) == {"view"}
    assert len(shown) == 6
    kinds = EventKinds.count(table(EVENTS, weight))
    assert kinds.impressions == {"impression": 5, "Impression": 1}
    assert (kinds.zero, kinds.weightless, kinds.learned) == ({}, False, ["view"])
    assert EventKinds.count(shown).weightless is False, "impressions alone are no reason to count events of weight 0"


def test_histories_keep_what_the_user_did_not_follow() -> None:
    others, shown = split_impressions(table(EVENTS))
    rows = with_served(build_histories(others, 9), shown, others).to_pylist()
    served = {
        row["user_id"]: list(
            zip(row["served_item_ids"], [(time - START).days for time in row["served_timestamps"]], strict=True)
        )
        for row in rows
    }
    assert served == {"a": [("i2", 1), ("i1", 4), ("i2", 5)], "c": []}
    assert rows[0]["seen_item_ids"] == ["i1"], "an impression does not make an item seen"


def test_histories_keep_the_newest_impressions() -> None:
    many = [("a", f"i{day}", "impression", day) for day in range(MOST_SERVED + 5)]
    others, shown = split_impressions(table([*many, ("a", "x", "view", 0)]))
    (row,) = with_served(build_histories(others, 9), shown, others).to_pylist()
    assert row["served_item_ids"] == [f"i{day}" for day in range(5, MOST_SERVED + 5)]
    nothing = with_served(build_histories(others, 9), shown.slice(0, 0), others).to_pylist()
    assert nothing[0]["served_item_ids"] == []


def test_a_weight_of_impressions_is_refused() -> None:
    inputs = {"events": {"path": "e"}, "items": {"path": "i", "text": "{title}"}}
    assert decode_config({"inputs": inputs | {"event_weights": {"Impression": 0}}}).inputs.event_weights
    with pytest.raises(ConfigError, match=r"'Impression' must have weight 0, got 0\.5: impressions say"):
        decode_config({"inputs": inputs | {"event_weights": {"Impression": 0.5}}})
