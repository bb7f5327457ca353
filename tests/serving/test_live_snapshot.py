"""The service answers a history with the list that the nightly run would have written, and refuses nobody."""

import datetime as dt
from dataclasses import replace

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from recsys.serving.contracts import HistoryEvent, RecommendationRequest
from recsys.serving.timely_rows import UnreadableError
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.lookup import KeyedFiles
from tests.serving.conftest import with_snapshot

NOW = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)
NUM_USERS = 100


@pytest.fixture(scope="module")
def published(one_night):
    """The night's lists, by user."""
    storage = Storage(str(one_night[0]))
    rows = ds.dataset(f"{one_night[0]}/{require_latest(storage).path}", format="parquet").to_table().to_pylist()
    lists: dict[str, list[dict]] = {}
    for row in rows:
        lists.setdefault(row["user_id"], []).append(row)
    return {user: sorted(own, key=lambda row: row["rank"]) for user, own in lists.items()}


@pytest.fixture(scope="module")
def histories(one_night):
    """The stored histories, by user."""
    table: pa.Table = ds.dataset(f"{one_night[0]}/histories/{one_night[1]['run_id']}", format="parquet").to_table()
    return {row["user_id"]: row for row in table.to_pylist()}


def ask(live, **request):
    return live.answer([RecommendationRequest(**request)], NOW)[0]


def as_events(history):
    columns = (history["item_ids"], history["timestamps"], history["events"])
    return [HistoryEvent(item_id=i, timestamp=t, event=e) for i, t, e in zip(*columns, strict=True)]


def test_a_history_gets_the_list_of_the_nightly_run(live, published, histories):
    """All in one batch: anonymous requests with the history of a known user.

    Items that nobody had are not compared: random draws, which depend on the user id, give them their places.
    """
    had = {item for history in histories.values() for item in history["item_ids"]}
    users = [user for user in sorted(published) if len(histories[user]["item_ids"]) <= 200][:NUM_USERS]
    assert len(users) == NUM_USERS
    requests = [RecommendationRequest(history=as_events(histories[user])) for user in users]
    for user, answer in zip(users, live.answer(requests, NOW), strict=True):
        assert answer.strategy == "personalized"
        found = [item for item in answer.items if item.item_id in had]
        rows = [row for row in published[user] if row["item_id"] in had]
        length = min(len(found), len(rows))
        assert length >= len(published[user]) - 2
        found, rows = found[:length], rows[:length]
        assert [item.item_id for item in found] == [row["item_id"] for row in rows], user
        assert [item.score for item in found] == pytest.approx([row["score"] for row in rows], abs=1e-5)
        assert [item.reason for item in found] == [row["reason"] for row in rows]


@pytest.mark.parametrize("exploration", [0.0, 0.4])
def test_the_other_requests_of_a_batch_change_nothing(live, histories, exploration):
    """Requests of all kinds, one by one and in one batch."""
    snapshot = live.ranker.snapshot
    snapshot = replace(snapshot, reranker=snapshot.reranker.with_setting("exploration", exploration))
    live = with_snapshot(live, snapshot)
    user = sorted(histories)[0]
    requests = [
        RecommendationRequest(),
        RecommendationRequest(query="steel lamp", k=3),
        RecommendationRequest(history=as_events(histories[user])[:2]),
        RecommendationRequest(user_id=user),
        RecommendationRequest(user_id=user, query="vase"),
        RecommendationRequest(query="steel lamp", k=3),
    ]
    together = live.answer(requests, NOW)
    alone = [live.answer([request], NOW)[0] for request in requests]
    for one, other in zip(together, alone, strict=True):
        assert [item.item_id for item in one.items] == [item.item_id for item in other.items]
        assert one.strategy == other.strategy
    strategies = ["popular", "query", "personalized", "precomputed", "query", "query"]
    assert [answer.strategy for answer in together] == strategies
    had = {item for history in histories.values() for item in history["item_ids"]}  # the others are new to try
    drawn = [
        item for answer in together for item in answer.items if item.source == "exploration" and item.item_id in had
    ]
    assert bool(drawn) == (exploration > 0)


def test_a_search_excludes_what_it_does_not_want(live):
    plain = ask(live, query="steel lamp")
    word = plain.items[0].title.split()[0].lower()
    answer = ask(live, query=f"steel lamp, no {word}")
    assert answer.understood is not None
    assert (answer.understood.text, answer.understood.unwanted) == ("steel lamp", [word])
    assert not [item.title for item in answer.items if word in item.title.lower().split()]
    kept = [item.item_id for item in plain.items if word not in item.title.lower().split()]
    assert [item.item_id for item in answer.items if item.item_id in kept] == kept, "the others keep their order"
    assert plain.understood is None


def test_a_known_user_gets_the_published_list(live, published):
    user = sorted(published)[1]
    answer = ask(live, user_id=user, k=3)
    assert answer.strategy == "precomputed"
    assert [item.item_id for item in answer.items] == [row["item_id"] for row in published[user]][:3]
    assert [item.rank for item in answer.items] == [1, 2, 3]
    assert answer == live.published_list(user, 3, NOW)


def test_a_new_event_of_a_known_user_changes_the_list(live, published, histories):
    user = sorted(published)[1]
    clicked = published[user][0]["item_id"]
    answer = ask(live, user_id=user, history=[{"item_id": clicked}])
    assert answer.strategy == "personalized"
    assert clicked not in [item.item_id for item in answer.items]
    assert [item.item_id for item in answer.items] != [row["item_id"] for row in published[user]]


def test_a_known_user_may_send_old_events(live, published):
    user = sorted(published)[1]
    items = live.catalog.item_ids.to_pylist()[:2]
    answer = ask(live, user_id=user, history=[{"item_id": item, "timestamp": "0301-02-03T04:05:06Z"} for item in items])
    assert answer.strategy == "personalized"
    assert len(answer.items) == live.ranker.config.top_k


def test_other_items_take_the_places_of_excluded_ones(live, published):
    user = sorted(published)[1]
    first = published[user][0]["item_id"]
    answer = ask(live, user_id=user, exclude=[first])
    assert first not in [item.item_id for item in answer.items]
    assert len(answer.items) == len(published[user])


def test_a_list_longer_than_the_published_one_begins_with_the_same_items(live, published):
    user = sorted(published)[1]
    answer = ask(live, user_id=user, k=12)
    assert len(answer.items) == 12
    assert answer.strategy == "personalized"
    assert [item.item_id for item in answer.items][:3] == [row["item_id"] for row in published[user]][:3]


def test_filters_hold(live):
    category = live.catalog._column("category")[0].as_py()
    answer = ask(live, filters={"category": category}, k=50)
    passing = {
        item
        for item, there in zip(
            live.catalog.item_ids.to_pylist(), live.catalog.passing({"category": category}), strict=True
        )
        if there
    }
    assert answer.items
    assert {item.item_id for item in answer.items} <= passing


def test_filters_that_no_item_passes_give_an_empty_list_with_a_warning(live):
    answer = ask(live, filters={"category": "no such thing"})
    assert answer.items == []
    assert answer.warnings == ["filters: no item passes them"]


def test_ids_are_found_however_a_caller_spells_them(live):
    item = live.catalog.item_ids[0].as_py()
    answer = ask(live, user_id=" u00001\u200b", history=[{"item_id": f"\u00a0{item} "}], exclude=[f"{item}\ufeff"])
    assert (answer.strategy, answer.warnings) == ("personalized", [])
    assert RecommendationRequest(user_id="cafe\u0301").user_id == "caf\u00e9"


def test_a_search_of_punctuation_alone_is_no_search(live):
    answer = ask(live, query="?!")
    assert (answer.strategy, answer.warnings) == ("popular", ["query: holds only punctuation, and is not read"])


def test_unknown_users_and_items_are_no_error(live):
    answer = ask(live, user_id="nobody", history=[{"item_id": "nope"}], exclude=["neither"], attributes={"age": "9"})
    assert answer.strategy == "popular"
    assert len(answer.items) == live.ranker.config.top_k
    assert answer.warnings == [
        "history: the catalog does not know nope",
        "attributes: the model of this snapshot reads no user attributes",
        "exclude: the catalog does not know neither",
    ]
    assert live.published_list("nobody", None, NOW) is None


def test_the_reply_names_its_run(live, one_night):
    answer = ask(live)
    assert (answer.run_id, answer.model_id) == (one_night[1]["run_id"], one_night[1]["model_id"])
    assert answer.snapshot_age_s == pytest.approx(
        (NOW - dt.datetime.fromisoformat(live.latest.published_at)).total_seconds(), abs=1e-3
    )


def test_items_are_found_by_words_of_their_titles(live):
    titles = live.catalog.titles.to_pylist()
    word = titles[0].split()[0]
    found = live.find_items(word.upper(), 5)
    assert found
    assert all(word.lower() in item.title.lower() for item in found)


def test_a_damaged_file_of_lists_spoils_no_batch(live, published, tmp_path, caplog):
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"no table")
    lists = KeyedFiles(Storage(str(tmp_path)), dict.fromkeys(live.users.shards, damaged.name), "user_id")
    live = replace(live, users=replace(live.users, lists=lists))
    user = next(iter(published))
    request = RecommendationRequest(user_id=user, k=3)
    first, second = live.answer([request, request], NOW)
    assert [answer.strategy for answer in (first, second)] == ["personalized", "personalized"]
    assert len(first.items) == 3
    with pytest.raises(UnreadableError, match=r"damaged\.parquet"):
        live.published_list(user, None, NOW)
    with pytest.raises(UnreadableError, match=r"damaged\.parquet"):
        live.published_fallback(request, "", NOW)
    assert caplog.text.count("damaged.parquet: is truncated or damaged") == 1
