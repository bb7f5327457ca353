"""A night of a repeat shop with kinds and weights of events, and the live service after it."""

import argparse
import datetime as dt
import logging
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs.nightly import nightly
from jobs.start_service import load_live
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.stages import INGEST_EVENTS, SHUFFLE_HISTORIES, WRITE_LISTS
from recsys.schema import RECOMMENDATIONS
from recsys.serving.contracts import HistoryEvent, RecommendationRequest
from recsys.serving.live_snapshot import LiveSnapshot
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.runs import RunFolder
from tests.conftest import END, tiny_config

NUM_USERS, NUM_ITEMS = 30, 12
#: An item that all send back, and one user bought long ago.
BAD = "i11"
NOW = dt.datetime.combine(END + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC)

#: (user, item, kind, quantity, days before the end of the night)
Event = tuple[str, str, str, float, float]
SPECIAL: list[Event] = [
    ("returns", "i0", "purchase", 1, 5),
    ("returns", "i1", "purchase", 1, 4),
    ("returns", "i0", "Return", 1, 3),
    ("forgives", "i0", "purchase", 1, 6),
    ("forgives", "i0", "return", 1, 5),
    ("forgives", "i0", "purchase", 1, 4),
    ("sends back", "i1", "purchase", 2, 6),
    ("sends back", "i0", "purchase", 2, 5),
    ("sends back", "i0", "purchase", -2, 4),
    ("dislikes all", "i0", "dislike", 1, 5),
    ("dislikes all", "i1", "dislike", 1, 4),
    ("looks", "i0", "glance", 1, 4),
    ("looks", "i2", "impression", 1, 3),
    ("looks", "i2", "Impression", 1, 2),
    ("looks", "i3", "impression", 1, 2),
    ("was shown", "i4", "impression", 1, 2),
]


class Shop(NamedTuple):
    """A night of this shop."""

    run: Run
    lists: dict[str, list[str]]
    histories: dict[str, dict[str, Any]]
    live: LiveSnapshot
    warnings: list[str]


def all_events() -> list[Event]:
    random = np.random.default_rng(0)
    usual = [
        (f"u{user}", f"i{(user + 2 * place) % (NUM_ITEMS - 1)}", "purchase" if place % 2 else "view", 1, 40 - 4 * place)
        for user in range(NUM_USERS)
        for place in range(10)
    ]
    back = [(f"u{user}", BAD, str(random.choice(["return", "refund"])), 1, 2.5) for user in range(NUM_USERS)]
    return [*usual, *back, ("keeps", BAD, "purchase", 1, 30), *SPECIAL]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Shop:
    folder = tmp_path_factory.mktemp("repeat")
    users, items, kinds, quantities, days = zip(*all_events(), strict=True)
    times = [NOW - dt.timedelta(days=ago) for ago in days]
    columns = {"user_id": users, "item_id": items, "kind": kinds, "quantity": quantities, "timestamp": times}
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), folder / "events.parquet")
    ids = [f"i{number}" for number in range(NUM_ITEMS)]
    titles = [f"{color} {thing}" for color in ("blue", "red", "green") for thing in ("lamp", "vase", "desk", "rug")]
    pq.write_table(pa.table({"item_id": ids, "title": titles}), folder / "items.parquet")
    raw = tiny_config(folder, folder / "warehouse")
    raw["inputs"] = {
        "events": {"path": f"{folder}/events.parquet", "columns": {"event": "kind", "weight": "quantity"}},
        "items": {"path": f"{folder}/items.parquet", "text": "{title}"},
        "event_weights": {"Purchase": 3.0, "view": 0.5, "glance": 0, "wish": 2},
    }
    raw["recommend"] |= {"top_k": NUM_ITEMS, "exclude_seen": False, "exclude_rejected": True}
    raw["rerank"] = {"cold_item_slots": 0.0, "exclude_served": {"times": 2, "days": 10}}
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("recsys").addHandler(handler)
    answer = nightly(decode_config(raw), argparse.Namespace(dry_run=False, force=False))
    logging.getLogger("recsys").removeHandler(handler)
    storage = Storage(str(folder / "warehouse"))
    run = stored_run(RunFolder(storage, answer["run_id"]))
    rows = ds.dataset(answer["path"], format="parquet", schema=RECOMMENDATIONS, exclude_invalid_files=True)
    lists: dict[str, list[str]] = {}
    for row in rows.to_table().sort_by([("user_id", "ascending"), ("rank", "ascending")]).to_pylist():
        lists.setdefault(row["user_id"], []).append(row["item_id"])
    histories = ds.dataset(storage.path(run.folder.histories_dir)).to_table().to_pylist()
    live = load_live(storage, require_latest(storage))
    return Shop(run, lists, {row["user_id"]: row for row in histories}, live, messages)


def test_events_of_weight_0_or_less_are_counted_by_kind(night: Shop) -> None:
    record = night.run.record(INGEST_EVENTS)
    returned = record.non_positive["return"] + record.non_positive["refund"]
    assert returned == NUM_USERS + 1
    others = {kind: num for kind, num in record.non_positive.items() if kind not in ("return", "refund")}
    assert others == {"Return": 1, "purchase": 1, "dislike": 2, "glance": 1}
    assert record.impressions == 4
    assert record.kinds == ["purchase", "view"], "the ranker knows the kinds that it reads"
    shuffled = night.run.record(SHUFFLE_HISTORIES)
    assert shuffled.non_positives == sum(record.non_positive.values())
    assert shuffled.users == NUM_USERS + 7, "also those who only disliked, and those who were only shown something"
    assert any("no event is of the kind 'wish'; there are 'purchase'" in message for message in night.warnings)


def test_a_table_of_interactions_holds_positives_only(night: Shop) -> None:
    interactions = ds.dataset(night.run.storage.path(night.run.interactions_dir)).to_table()
    assert set(interactions["weight"].to_pylist()) == {0.5, 3.0, 6.0}
    assert interactions["item_id"].to_pylist().count(BAD) == 1
    counts = pq.read_table(night.run.storage.path(night.run.item_counts_path("full"))).to_pylist()
    assert counts[-1] == {"item_id": BAD, "num": 1}


def test_returns_make_nothing_popular(night: Shop) -> None:
    """Most users had it in their hands, and a night that counts returns would list it first."""
    answer = night.live.answer([RecommendationRequest()], NOW)[0]
    assert answer.strategy == "popular"
    assert answer.items[-1].item_id == BAD
    assert all(BAD not in own for user, own in night.lists.items() if user.startswith("u"))


@pytest.mark.parametrize(
    ("user", "read", "seen", "rejected"),
    [
        ("returns", ["i0", "i1"], ["i0", "i1"], ["i0"]),
        ("forgives", ["i0", "i0"], ["i0"], []),
        ("sends back", ["i1", "i0"], ["i0", "i1"], ["i0"]),
        ("dislikes all", [], ["i0", "i1"], ["i0", "i1"]),
        ("looks", [], ["i0"], []),
    ],
)
def test_histories_and_lists_know_what_was_rejected(
    night: Shop, user: str, read: list[str], seen: list[str], rejected: list[str]
) -> None:
    history = night.histories[user]
    assert (history["item_ids"], history["seen_item_ids"], history["rejected_item_ids"]) == (read, seen, rejected)
    assert not set(night.lists[user]) & set(rejected)
    if "i0" not in rejected:
        assert "i0" in night.lists[user], "what was seen may be taken again"


def test_the_live_service_makes_the_lists_of_the_night(night: Shop) -> None:
    """Of the same events; what a visitor rejects is not in the list, whatever the spelling of the kind."""
    kinds = {"returns": 0, "forgives": 0, "dislikes all": 0}
    for user in kinds:
        history = [
            HistoryEvent(item_id=item, event=kind, timestamp=NOW - dt.timedelta(days=ago))
            for owner, item, kind, _, ago in SPECIAL
            if owner == user
        ]
        answer = night.live.answer([RecommendationRequest(history=history)], NOW)[0]
        assert [item.item_id for item in answer.items] == night.lists[user]
        assert answer.strategy == ("popular" if user == "dislikes all" else "personalized")


def test_a_known_user_may_reject_more(night: Shop) -> None:
    bought, returned = night.lists["u3"][0], night.lists["u3"][1]
    history = [HistoryEvent(item_id=bought, event="purchase"), HistoryEvent(item_id=returned, event="thumbs-down")]
    answer = night.live.answer([RecommendationRequest(user_id="u3", history=history)], NOW)[0]
    listed = [item.item_id for item in answer.items]
    assert bought in listed
    assert returned not in listed
    assert BAD not in listed


def test_where_no_event_of_the_night_has_a_weight_live_events_of_weight_0_count(night: Shop) -> None:
    done = night.run.done(INGEST_EVENTS)
    assert done is not None
    storage = night.run.storage
    night.run.remember(INGEST_EVENTS, replace(done, record=replace(done.record, weightless=True)))
    live = load_live(storage, require_latest(storage))
    night.run.remember(INGEST_EVENTS, done)
    request = RecommendationRequest(history=[HistoryEvent(item_id="i0", event="glance")])
    assert [shop.answer([request], NOW)[0].strategy for shop in (live, night.live)] == ["personalized", "popular"]


def test_what_was_shown_twice_is_left_out_in_the_night_and_live(night: Shop) -> None:
    assert "i2" not in night.lists["looks"]
    assert {"i3", "i0"} <= set(night.lists["looks"]), "shown once, and of weight 0"
    assert sorted(night.histories["looks"]["served_item_ids"]) == ["i2", "i2", "i3"]
    assert "i2" not in night.histories["looks"]["seen_item_ids"]
    assert "i4" in night.lists["was shown"]
    assert night.run.record(WRITE_LISTS).reranked.removed == {"served": 1}

    def listed(*kinds: str, user_id: str | None = None) -> list[str]:
        history = [HistoryEvent(item_id="i4", event=kind) for kind in kinds]
        request = RecommendationRequest(history=history, user_id=user_id, k=NUM_ITEMS)
        return [item.item_id for item in night.live.answer([request], NOW)[0].items]

    assert "i4" in listed("impression")
    assert "i4" not in listed("impression", "impression")
    assert "i4" not in listed("impression", user_id="was shown"), "once in the night, and once in the session"
    assert "i4" in listed("impression", "purchase", "impression", user_id="was shown"), "it was taken since"
