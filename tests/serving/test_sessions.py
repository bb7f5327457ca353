"""A session becomes the history that the nightly run would have written."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.schema import HISTORIES, REJECTED, SERVED
from recsys.serving.contracts import HistoryEvent
from recsys.serving.sessions import Session, session_histories

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
YESTERDAY = NOW - dt.timedelta(days=1)


def session(events=(), **changes):
    weights = [1.0] * len(events)
    known = {"user_id": "u", "stored": None, "events": events, "weights": weights, "query": "", "profile": ""}
    return Session(**(known | changes))


def row(one, max_events=500):
    return session_histories([one], NOW, max_events).to_pylist()[0]


def stored(**changes):
    known = {
        "item_ids": ["a", "b"],
        "timestamps": [YESTERDAY, YESTERDAY],
        "events": ["view", "purchase"],
        "weights": [1.0, 2.0],
        "seen_item_ids": ["a", "b", "old"],
    }
    return known | changes


def test_an_anonymous_user_has_an_empty_history():
    found = session_histories([session(user_id="")], NOW, 500)
    assert found.schema.names[: len(HISTORIES)] == HISTORIES.names
    lists = [*HISTORIES.names, "texts", *REJECTED.names, *SERVED.names]
    assert found.to_pylist() == [{name: [] for name in lists} | {"user_id": "", "profile": ""}]


def test_new_events_follow_stored_events():
    found = row(session([HistoryEvent(item_id="c", event="view")], stored=stored()))
    assert found["item_ids"] == ["a", "b", "c"]
    assert found["timestamps"] == [YESTERDAY, YESTERDAY, NOW]
    assert found["events"] == ["view", "purchase", "view"]
    assert found["weights"] == [1.0, 2.0, 1.0]
    assert found["seen_item_ids"] == ["a", "b", "c", "old"]


def test_old_events_are_sorted_in_by_time():
    """However old they are; ages count from the last event."""
    long_ago = dt.datetime(301, 2, 3, tzinfo=dt.UTC)
    events = [HistoryEvent(item_id="c", timestamp=long_ago), HistoryEvent(item_id="d", timestamp=NOW)]
    found = row(session(events, stored=stored(texts=["nice", ""])))
    assert found["item_ids"] == ["c", "a", "b", "d"]
    assert found["timestamps"] == [long_ago, YESTERDAY, YESTERDAY, NOW]
    assert found["weights"] == [1.0, 1.0, 2.0, 1.0]
    assert found["texts"] == ["", "nice", "", ""]
    assert row(session(events, stored=stored()), max_events=3)["item_ids"] == ["a", "b", "d"]


def test_a_query_is_the_last_event_and_has_no_item():
    found = row(session([HistoryEvent(item_id="c")], query="red lantern"))
    assert found["item_ids"] == ["c", ""]
    assert found["texts"] == ["", "red lantern"]
    assert found["seen_item_ids"] == ["c"]


def test_stored_texts_stay_with_their_events():
    found = row(session([HistoryEvent(item_id="c")], stored=stored(texts=["nice", ""], profile="a gardener")))
    assert found["texts"] == ["nice", "", ""]
    assert found["profile"] == "a gardener"


def test_sent_attributes_replace_the_stored_profile():
    assert row(session(stored=stored(profile="a gardener"), profile="a cook"))["profile"] == "a cook"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (dt.datetime(2026, 11, 22, 10), dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)),  # noqa: DTZ001
        (NOW + dt.timedelta(days=400), NOW),
        (dt.datetime(2026, 11, 22, 10, tzinfo=dt.timezone(dt.timedelta(hours=2))), NOW - dt.timedelta(hours=4)),
    ],
)
def test_times_are_utc_and_not_in_the_future(given, read):
    assert row(session([HistoryEvent(item_id="c", timestamp=given)]))["timestamps"] == [read]


def dated(item, days_ago):
    return HistoryEvent(item_id=item, timestamp=NOW - dt.timedelta(days=days_ago))


def test_what_is_returned_or_disliked_is_seen_and_not_read():
    given = session([HistoryEvent(item_id="c"), HistoryEvent(item_id="d")], weights=[-1.0, 0.0], stored=stored())
    found = row(given)
    assert found["item_ids"] == ["a", "b"]
    assert found["seen_item_ids"] == ["a", "b", "c", "d", "old"]
    assert (found["rejected_item_ids"], found["rejected_timestamps"]) == (["c"], [NOW])


def test_positive_weights_are_in_the_history():
    assert row(session([HistoryEvent(item_id="c")], weights=[3.0], stored=stored()))["weights"] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("events", "weights", "rejected"),
    [
        ([], [], ["b", "x"]),
        ([("x", 0)], [1.0], ["b"]),  # taken again
        ([("x", 9)], [1.0], ["b", "x"]),  # an older event, sent again
        ([("x", 0)], [0.0], ["b", "x"]),  # an event without a weight says nothing
        ([("a", 9)], [-1.0], ["b", "x"]),  # older than the stored event
        ([("a", 0)], [-1.0], ["a", "b", "x"]),
        ([("n", 0), ("n", 0)], [1.0, -1.0], ["b", "n", "x"]),  # in the order of the request
        ([("n", 0), ("n", 0)], [-1.0, 1.0], ["b", "x"]),
    ],
)
def test_the_newest_event_says_what_is_rejected(events, weights, rejected):
    """In the stored history `x` was returned two days ago, and `b` was returned when it was bought."""
    known = stored(rejected_item_ids=["b", "x"], rejected_timestamps=[YESTERDAY, YESTERDAY - dt.timedelta(days=1)])
    given = session([dated(*event) for event in events], weights=weights, stored=known)
    assert row(given)["rejected_item_ids"] == rejected


TIMES = st.none() | st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2030, 1, 1))  # noqa: DTZ001


@given(st.lists(st.tuples(st.sampled_from("abc"), TIMES), max_size=12), st.integers(1, 8))
def test_events_are_sorted_by_time_and_only_the_newest_are_kept(given, max_events):
    events = [HistoryEvent(item_id=item, timestamp=time) for item, time in given]
    found = row(session(events), max_events)
    assert found["timestamps"] == sorted(found["timestamps"])
    assert len(found["item_ids"]) == min(len(events), max_events)
    assert found["seen_item_ids"] == sorted({item for item, _ in given})
    assert all(time <= NOW for time in found["timestamps"])
