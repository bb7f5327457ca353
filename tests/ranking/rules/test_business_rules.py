"""Pins, boosts, caps, expiry and quiet periods do what their settings say. Shapes: B users, C candidates, I items."""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.errors import ConfigError
from recsys.ranking.config import RerankConfig
from recsys.ranking.experiment_config import Experiment, rules_of_arms
from recsys.ranking.recommendable import recommendable_items
from recsys.ranking.rerank import Reranked, Reranker
from recsys.ranking.rules.expiry import FOR_EVER, expiry_times
from recsys.ranking.rules.rule import NightFacts
from recsys.ranking.rules.user_rule import UserActions
from recsys.schema import CATALOG
from recsys.settings import decode_config

DATE = dt.date(2026, 11, 22)
INPUTS: dict[str, Any] = {"events": {"path": "events"}, "items": {"path": "items.parquet", "text": "{title}"}}
BRANDS = ["a", "a", "a", "b", None, "b", "c", "c"]
ENDS = ["2026-11-22", "2026-11-23", "2026-11-23T12:00", "2026-11-24T00:00:00Z", None, "soon", " ", "20261124"]


def catalog() -> pa.Table:
    rows = [
        {"item_id": f"i{place}", "text": "", "available": True, "text_hash": ""}
        | {"attributes": {name: text for name, text in (("brand", brand), ("valid_until", end)) if text is not None}}
        for place, (brand, end) in enumerate(zip(BRANDS, ENDS, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=CATALOG)


def reranker(**rerank: Any) -> Reranker:
    facts = NightFacts(
        popularity=np.ones(8, dtype=np.int64),
        is_cold=np.zeros(8, dtype=bool),
        recommendable=np.ones(8, dtype=bool),
        vectors=np.eye(8, dtype=np.float32),
        seed=0,
        date=DATE,
        catalog=catalog(),
    )
    return Reranker.build(RerankConfig.model_validate({"cold_item_slots": 0.0} | rerank), facts)


def lists(top_k: int = 4, order: list[int] | None = None, **rerank: Any) -> Reranked:
    """The list of one user whose candidates have the scores −1, −2 … in this order."""
    items = np.array([order or list(range(8))])
    scores = -np.arange(1, items.shape[1] + 1, dtype=np.float32)[None]
    return reranker(**rerank).rerank(pa.array(["u"]), items, scores, top_k)


def test_pins_hold_on_their_days_only() -> None:
    def first(**days: str) -> int:
        return int(lists(pins=[{"item": "i7", **days}]).items[0, 0])

    assert first() == 7
    assert lists(pins=[{"item": "i7\u200b"}]).items[0, 0] == 7, "an id is read as the night reads ids"
    assert first(first_day="2026-11-23", last_day="2026-11-23") == 7, "the lists of the 22nd are shown on the 23rd"
    assert first(first_day="2026-11-24") == 0
    assert first(last_day="2026-11-22") == 0
    assert lists(pins=[{"item": "i7", "last_day": "2026-11-22"}], shown_after_days=0).items[0, 0] == 7


def test_pinned_items_stand_at_their_places_with_falling_scores() -> None:
    got = lists(pins=[{"item": "i7", "place": 3}, {"item": "i6"}, {"item": "i5", "place": 1}, {"item": "gone"}])
    assert got.items.tolist() == [[5, 6, 7, 0]], "two items of one place follow each other"
    assert got.pinned.tolist() == [[True, True, True, False]]
    assert got.counts.moved["pins"] == 3
    assert (np.diff(got.scores[0]) <= 0).all()
    assert got.scores[0, 0] == -1, "a moved item takes the score of the best"


def test_pins_of_the_last_place_are_all_in_the_list() -> None:
    got = lists(pins=[{"item": f"i{item}", "place": 4} for item in (5, 6, 7)])
    assert got.items.tolist() == [[0, 5, 6, 7]], "they end at their place"
    got = lists(pins=[{"item": f"i{item}", "place": 1} for item in range(1, 8)])
    assert got.items.tolist() == [[1, 2, 3, 4]], "not more than the list is long"


def test_a_pin_that_the_user_may_not_have_keeps_no_place_free() -> None:
    pins = [{"item": "i5"}, {"item": "i6"}]
    assert lists(pins=pins).items.tolist() == [[5, 6, 0, 1]]
    assert lists(pins=pins, order=[0, 1, 2, 3, 4, 6, 7]).items.tolist() == [[6, 0, 1, 2]]


def test_an_item_that_stands_higher_by_itself_is_not_moved() -> None:
    got = lists(pins=[{"item": "i1", "place": 3}])
    assert got.items.tolist() == [[0, 1, 2, 3]]
    assert not got.pinned.any()
    assert got.counts.moved["pins"] == 0


def test_a_pin_below_the_list_is_refused() -> None:
    config = {"inputs": INPUTS, "recommend": {"top_k": 5}, "rerank": {"pins": [{"item": "i1", "place": 6}]}}
    with pytest.raises(ConfigError, match=r"rerank\.pins\.0\.place=6 is below lists of recommend\.top_k=5"):
        decode_config(config)


def test_boosts_multiply_probabilities() -> None:
    got = lists(boosts=[{"items": ["i3"], "factor": 10.0}, {"where": "brand = 'a'", "factor": 0.01}])
    assert got.items.tolist() == [[3, 4, 0, 5]]
    assert got.scores[0].tolist() == pytest.approx([-4 + np.log(10), -5, -1 - np.log(100), -6], abs=1e-5)
    assert got.counts.moved["boosts"] == 2


def test_a_boost_needs_items_and_reads_known_attributes() -> None:
    with pytest.raises(ConfigError, match=r"rerank\.boosts\.0: a boost needs either `items` or `where`"):
        decode_config({"inputs": INPUTS, "rerank": {"boosts": [{"factor": 2.0}]}})
    days = {"first_day": "2026-11-23", "last_day": "2026-11-22"}
    with pytest.raises(ConfigError, match=r"first_day=2026-11-23 must not be after last_day=2026-11-22"):
        decode_config({"inputs": INPUTS, "rerank": {"boosts": [{"factor": 2.0, "items": ["a"], **days}]}})
    with pytest.raises(ConfigError, match=r"rerank\.boosts\.where .*no item has an attribute 'colour'"):
        reranker(boosts=[{"where": "colour = 'red'", "factor": 2.0}])


def test_caps_limit_the_items_of_a_value() -> None:
    assert lists(caps={"brand": 1}).items.tolist() == [[0, 3, 4, 6]], "items without a brand are not limited"
    assert lists(caps={"brand": 2}).items.tolist() == [[0, 1, 3, 4]]
    assert lists(caps={"brand": 1}, top_k=8).items.tolist() == [[0, 3, 4, 6, 1, 2, 5, 7]], "nothing else is left"
    assert lists(caps={"brand": 1}).counts.moved["caps"] == 2


def test_pinned_items_count_for_caps_and_stay() -> None:
    got = lists(caps={"brand": 1}, pins=[{"item": "i2", "place": 2}])
    assert got.items[0].tolist() == [3, 2, 4, 6], "i0 goes down, since i2 is of the same brand"
    assert got.pinned[0].tolist() == [False, True, False, False]
    assert (np.diff(got.scores[0]) <= 0).all()
    got = lists(caps={"brand": 1}, pins=[{"item": "i7", "place": 4}])
    assert got.items[0].tolist() == [0, 3, 4, 7]
    got = lists(caps={"brand": 1}, pins=[{"item": "i2", "place": 4}])
    assert got.items[0].tolist() == [3, 4, 2, 6], "its score brings it above its place, and there it stays"
    got = lists(top_k=2, caps={"brand": 1}, pins=[{"item": "i1"}, {"item": "i2", "place": 2}])
    assert got.items[0].tolist() == [1, 2], "what the shop pins may exceed a cap"
    assert lists(caps={"brand": 1}, exploration=0.5).counts.listed == 4


def test_what_does_not_last_through_the_day_is_expired() -> None:
    found = recommendable_items(catalog(), RerankConfig(expiry="valid_until"), DATE)
    assert np.flatnonzero(~found.mask).tolist() == [0, 2]
    assert found.removed["expired"] == 2
    assert found.counts["unreadable_expiry"] == 1
    assert found.warnings == (
        "rerank.expiry: 1 items have a text in 'valid_until' that is no date; write dates like 2026-12-24",
    )
    ends, _ = expiry_times(catalog(), "valid_until")
    assert ends[1] == ends[3] == dt.datetime(2026, 11, 24, tzinfo=dt.UTC).timestamp() * 1e6
    assert (ends[[4, 5, 6]] == FOR_EVER).all()
    with pytest.raises(ConfigError, match="the attribute 'until', which no item has"):
        recommendable_items(catalog(), RerankConfig(expiry="until"), DATE)


def test_a_date_counts_to_its_end_and_a_month_or_a_year_is_no_date() -> None:
    texts = ["2026-1-5", "20260105", "9999-12-31", "2026-01-05 08:00", "2026-01", "2026", "now", "today", "1767600000"]
    rows = [
        {"item_id": text, "text": "", "available": True, "text_hash": "", "attributes": {"until": text}}
        for text in texts
    ]
    ends, num_unreadable = expiry_times(pa.Table.from_pylist(rows, schema=CATALOG), "until")
    end_of_day = dt.datetime(2026, 1, 6, tzinfo=dt.UTC).timestamp() * 1e6
    assert ends[[0, 1, 3]].tolist() == [end_of_day, end_of_day, end_of_day - 16 * 3600e6]
    assert end_of_day < ends[2] < FOR_EVER
    assert (ends[4:] == FOR_EVER).all()
    assert num_unreadable == 5


def test_unknown_ids_of_pins_and_boosts_are_named() -> None:
    settings = {"pins": [{"item": "x"}], "boosts": [{"items": ["y", "i1"], "factor": 2.0}]}
    found = recommendable_items(catalog(), RerankConfig.model_validate(settings), DATE)
    assert found.warnings == (
        "rerank: 1 of the 2 ids to boost are not in the catalog: y",
        "rerank: 1 of the 1 ids to pin are not in the catalog: x",
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"caps": {"colour": 1}},
        {"quiet": {"days": 1, "attribute": "colour"}},
        {"boosts": [{"where": "colour = 'red'", "factor": 2.0}]},
        {"expiry": "colour"},
    ],
)
def test_an_attribute_that_no_item_has_is_refused_before_the_training(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"'colour'.*the attributes are brand, valid_until"):
        recommendable_items(catalog(), RerankConfig.model_validate(settings), DATE)
    arms = [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5, "rerank": settings}]
    if "expiry" not in settings:  # the same for all users, so no arm may change it
        changed = rules_of_arms([Experiment.model_validate({"name": "colours", "arms": arms})], RerankConfig())
        with pytest.raises(ConfigError, match=r"^experiments\.0\.arms\.1: .*'colour'"):
            recommendable_items(catalog(), RerankConfig(), DATE, changed)


def test_what_has_no_effect_in_an_arm_is_warned_of_once() -> None:
    pins = RerankConfig.model_validate({"pins": [{"item": "x"}]})
    found = recommendable_items(catalog(), pins, DATE, {"experiments.0.arms.0": pins})
    assert found.warnings == ("rerank: 1 of the 1 ids to pin are not in the catalog: x",)


@pytest.mark.parametrize(
    ("quiet", "expected"),
    [
        ({"days": 2}, {(0, 3), (1, 4)}),
        ({"days": 9}, {(0, 0), (0, 3), (1, 4)}),
        ({"days": 9, "events": ["PURCHASE"]}, {(0, 0), (1, 4)}),
        ({"days": 9, "attribute": "brand"}, {(0, 0), (0, 1), (0, 2), (0, 3), (0, 5), (1, 4)}),
    ],
)
def test_a_quiet_period_leaves_out_what_was_taken(quiet: dict[str, Any], expected: set[tuple[int, int]]) -> None:
    none = np.zeros(0, dtype=np.int64)
    actions = UserActions(
        num_users=2,
        served_users=none,
        served_items=none,
        served_age_days=np.zeros(0),
        users=np.array([0, 0, 0, 1]),
        items=np.array([0, -1, 3, 4]),
        kinds=pa.array(["purchase", "purchase", "view", "Purchase"]),
        age_days=np.array([5.0, 1.0, 1.0, 0.0]),
    )
    removed = reranker(quiet=quiet).removers["quiet"](actions)
    assert set(zip(removed.users.tolist(), removed.items.tolist(), strict=True)) == expected


def test_impressions_without_an_effect_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"rerank\.exclude_served: does nothing with times=null and factor=1"):
        decode_config({"inputs": INPUTS, "rerank": {"exclude_served": {"times": None}}})


def test_a_measured_night_is_without_what_the_shop_decides() -> None:
    settings = RerankConfig.model_validate({"pins": [{"item": "i7"}], "caps": {"brand": 1}, "quiet": {"days": 1}})
    assert settings.for_measuring() == RerankConfig()


def test_pins_and_caps_take_nothing_from_exploration() -> None:
    """Each list keeps its drawn items, at the last places that no pin takes, and they are drawn alike."""
    items = np.tile(np.arange(8), (4000, 1))
    scores = -items.astype(np.float32)
    users = pa.array([f"u{number}" for number in range(len(items))])
    made = reranker(exploration=0.4, pins=[{"item": "i7"}, {"item": "i6", "place": 5}], caps={"brand": 2})
    got = made.rerank(users, items, scores, 5)
    assert (got.items[:, [0, 1, 4]] == [7, 0, 6]).all(), "two places for pins, one for the best, two for exploration"
    assert (got.pinned == [True, False, False, False, True]).all()
    assert (got.explored == [False, False, True, True, False]).all()
    assert got.counts.moved["exploration"] == 2 * len(items)
    often = np.bincount(got.items[got.explored], minlength=8) / len(items)
    assert often.tolist() == pytest.approx([0, 0.5, 0, 0.5, 0.5, 0.5, 0, 0], abs=0.05), "i2 would exceed the cap"
    none_fits = reranker(exploration=0.4, caps={"brand": 1}).rerank(users, items, scores, 8)
    assert (none_fits.items[:, :5] == [0, 3, 4, 6, 1]).all()
    assert (np.sort(none_fits.items[:, 5:], axis=1) == [2, 5, 7]).all()
    assert none_fits.explored.sum() == 3 * len(items), "where nothing else is left, the others are drawn"


def test_exploration_takes_the_places_that_pins_leave() -> None:
    everywhere = [{"item": f"i{place}", "place": place} for place in (1, 2, 3)]
    got = lists(exploration=0.5, pins=everywhere)
    assert got.items[0, :3].tolist() == [1, 2, 3]
    assert got.explored[0].tolist() == [False, False, False, True]
    got = lists(exploration=0.5, pins=[*everywhere, {"item": "i4", "place": 4}])
    assert got.items[0].tolist() == [1, 2, 3, 4]
    assert not got.explored.any()
    assert got.counts.moved["exploration"] == 0
