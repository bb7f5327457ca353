"""Lists of past nights joined with later events."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.past_nights import compare, realized
from recsys.data.assignment import assign_arms
from recsys.errors import ConfigError, InputError
from recsys.schema import REALIZED
from recsys.settings import Config, decode_config
from recsys.storage.publish import pointer_to, publish
from recsys.storage.runs import RunFolder
from tests.conftest import tiny_config
from tests.published_shop import Events, PublishedShop, Rows, day_of, moment

PRICES = {"a": {"price": "10"}, "b": {"price": "2.5"}, "c": {"price": "free"}, "d": {}}


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


def make_config(warehouse: Path, **sections: Any) -> Config:
    return decode_config(tiny_config(Path("shop"), warehouse, **sections))


def values(warehouse: Path, day: int) -> dict[tuple[str, str], float]:
    table = pq.read_table(warehouse / "realized/realized.parquet")
    assert table.schema == REALIZED
    return {
        (row["segment"], row["metric"]): row["value"] for row in table.to_pylist() if row["run_date"] == day_of(day)
    }


LISTS: Rows = [("ann", ["a", "b"]), ("bob", ["b", "c"]), ("eve", ["c", "a"]), ("joe", ["d"])]
EVENTS: Events = [
    (0, "ann", "a"),  # before the first list
    (1, "ann", "a"),
    (1, "ann", "a"),
    (1, "bob", "d"),
    (1, "eve", "a"),
    (1, "nobody", "a"),
    (2, "eve", "c"),  # belongs to the second night
    (9, "bob", "b"),  # no list is new enough
]


def test_each_event_counts_for_the_newest_list_before_it(warehouse: Path) -> None:
    config = make_config(warehouse, realized={"price": "price"})
    shop = PublishedShop(warehouse, config)
    shop.publish(shop.run(0), LISTS, lambda user: "x/new" if user == "ann" else "default")
    shop.publish(shop.run(1), LISTS)
    shop.publish(shop.run(12), LISTS)
    shop.know(shop.run(12), PRICES, EVENTS)
    answer = realized(config)
    assert (answer["status"], answer["nights"], answer["from"][:10]) == ("evaluated", 2, "2026-11-02")
    found = values(warehouse, 0)
    assert found["all", "lists"] == 4
    assert found["all", "active_users"] == 3
    assert found["all", "hitrate@10"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["all", "ndcg@10"] == pytest.approx((1 + 0 + 0.63093) / 3, abs=1e-5)
    assert found["all", "taken_per_list"] == pytest.approx(2 / 4)
    assert found["all", "revenue"] == 30  # ann bought twice
    assert found["all", "revenue_per_list"] == 7.5
    assert (found["variant:x/new", "lists"], found["variant:x/new", "revenue"]) == (1, 20)
    assert (found["variant:default", "lists"], found["variant:default", "active_users"]) == (3, 2)
    assert (found["source:ranker", "shown"], found["source:ranker", "taken_share"]) == (
        3,
        pytest.approx(1 / 3, abs=1e-6),
    )
    assert (found["source:ease", "shown"], found["source:ease", "revenue"]) == (3, 10)
    later = values(warehouse, 1)
    assert (later["all", "active_users"], later["all", "hitrate@10"], later["all", "revenue"]) == (1, 1, 0)
    assert ("live", "shown") not in found
    assert {row["run_date"] for row in answer["results"]} == {"2026-11-01", "2026-11-02"}
    index = (warehouse / "site/index.html").read_text(encoding="utf-8")
    assert "What users did" in index
    assert "x/new" in index


def test_impressions_of_the_live_service_are_joined_too(warehouse: Path) -> None:
    config = make_config(warehouse)
    shop = PublishedShop(warehouse, config)
    shop.publish(shop.run(0), LISTS)
    shop.publish(shop.run(3), LISTS)
    shop.know(shop.run(3), PRICES, [(1, "ann", "a"), (2, "bob", "b")])
    seen = [("ann", "a", 1, 9), ("ann", "a", 1, 10), ("ann", "b", 1, 9), ("bob", "b", 2, 13), ("eve", "c", 9, 9)]
    impressions = [(moment(day, hour), user, item) for user, item, day, hour in seen]
    shop.happened(shop.run(3), "impressions", impressions)
    realized(config)
    found = values(warehouse, 0)
    assert (found["live", "shown"], found["live", "taken_share"]) == (3, pytest.approx(1 / 3, abs=1e-6))


def test_what_was_shown_before_midnight_and_taken_after_it_counts_for_the_night_that_showed_it(warehouse: Path) -> None:
    config = make_config(warehouse, realized={"price": "price", "window_days": 3})
    shop = PublishedShop(warehouse, config)
    for day in range(6):
        shop.publish(shop.run(day), LISTS)
    shop.know(shop.run(5), PRICES, [(2, "ann", "a"), (2, "bob", "b"), (5, "eve", "a"), (3, "joe", "b")])
    seen = [("ann", "a", 1, 23), ("bob", "b", 1, 23), ("bob", "b", 2, 9), ("eve", "a", 1, 23), ("joe", "a", 1, 23)]
    impressions = [(moment(day, hour), user, item) for user, item, day, hour in seen]
    shop.happened(shop.run(5), "impressions", impressions)
    realized(config)
    first, second = values(warehouse, 0), values(warehouse, 1)
    assert (first["live", "shown"], first["live", "taken_share"], first["live", "revenue"]) == (4, 0.25, 10)
    assert (second["live", "shown"], second["live", "taken_share"], second["live", "revenue"]) == (1, 1, 2.5)
    assert ("live", "shown") not in values(warehouse, 2)


def test_only_the_kinds_of_events_that_count_are_joined(warehouse: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config(warehouse, realized={"events": ["view"]})
    shop = PublishedShop(warehouse, config)
    shop.publish(shop.run(0), LISTS)
    shop.publish(shop.run(1), LISTS)
    shop.know(shop.run(1), PRICES, EVENTS)
    realized(config)
    assert values(warehouse, 0)["all", "active_users"] == 0
    assert "realized.events: no event is of the kind view; the kinds are buy" in caplog.text
    caplog.clear()
    realized(make_config(warehouse, realized={"events": ["Buy"]}))  # kinds are compared as everywhere else
    assert values(warehouse, 0)["all", "active_users"] == 3
    assert "realized.events" not in caplog.text


def test_prices_are_read_as_people_write_them(warehouse: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config(warehouse, realized={"price": "price"})
    shop = PublishedShop(warehouse, config)
    shop.publish(shop.run(0), [("ann", ["a", "b", "c"])])
    shop.publish(shop.run(1), LISTS)
    prices = {"a": {"price": "$1,299.00"}, "b": {"price": "7.5"}, "c": {"price": "on request"}, "d": {}}
    shop.know(shop.run(1), prices, [(1, "ann", "a"), (1, "ann", "b"), (1, "ann", "c")])
    realized(config)
    assert values(warehouse, 0)["all", "revenue"] == 1306.5
    assert "realized.price: of 1 items the price in 'price' is no number; they bring nothing" in caplog.text


def test_revenue_of_several_kinds_of_events_is_warned_of(warehouse: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A view would bring the price like a purchase."""
    shop = PublishedShop(warehouse, make_config(warehouse))
    shop.publish(shop.run(0), LISTS)
    shop.publish(shop.run(1), LISTS)
    shop.know(shop.run(1), PRICES, [(1, "ann", "a")])
    realized(make_config(warehouse, realized={"price": "price"}))
    assert "in realized.events" not in caplog.text
    folder = warehouse / "runs" / shop.run(1).run_id / "interactions"
    bought = pq.read_table(folder / "shard-00000.parquet")
    viewed = bought.set_column(bought.column_names.index("event"), "event", pa.array(["view"]))
    pq.write_table(viewed.cast(bought.schema), folder / "shard-00001.parquet")
    realized(make_config(warehouse, realized={"price": "price"}))
    assert values(warehouse, 0)["all", "revenue"] == 20
    assert "of whatever kind (buy, view); name those that are sales in realized.events" in caplog.text
    caplog.clear()
    realized(make_config(warehouse, realized={"price": "price", "events": ["buy"]}))
    assert values(warehouse, 0)["all", "revenue"] == 10
    assert "in realized.events" not in caplog.text


def test_a_night_that_was_published_again_counts_once(warehouse: Path) -> None:
    config = make_config(warehouse)
    shop = PublishedShop(warehouse, config)
    shop.publish(shop.run(0), LISTS)
    shop.publish(shop.run(0, "0123456789ab-2"), [("ann", ["d"])])
    shop.publish(shop.run(1), LISTS)
    shop.know(shop.run(1), PRICES, EVENTS)
    assert realized(config)["nights"] == 1
    assert values(warehouse, 0)["all", "lists"] == 1


def test_what_is_missing_is_said(warehouse: Path) -> None:
    config = make_config(warehouse, realized={"price": "cost"})
    shop = PublishedShop(warehouse, config)
    shop.publish(shop.run(0), LISTS)
    with pytest.raises(InputError, match=r"published nights: 1; .* needs at least 2"):
        realized(config)
    shop.publish(shop.run(1), LISTS)
    shop.know(shop.run(1), PRICES, EVENTS)
    with pytest.raises(ConfigError, match=r"realized.price=cost: no item has a number above 0"):
        realized(config)
    with pytest.raises(InputError, match="--compare colours: no past night has this experiment; they have none"):
        compare(make_config(warehouse), "colours")


ARMS = [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5, "rerank": {"diversity": 0.3}}]
USERS = [f"u{number:04}" for number in range(600)]


def test_the_arms_of_an_experiment_are_compared(warehouse: Path) -> None:
    config = make_config(warehouse, experiments=[{"name": "mix", "arms": ARMS}], realized={"price": "price"})
    before = make_config(warehouse, experiments=[{"name": "mix", "salt": "other", "arms": ARMS}])
    arms = dict(zip(USERS, assign_arms(pa.array(USERS), "mix", [0.5, 0.5]).tolist(), strict=True))
    lists: Rows = [(user, ["a", "b"]) for user in USERS]

    def variant(user: str) -> str:
        return f"mix/{'new' if arms[user] else 'old'}+other/x"

    shop = PublishedShop(warehouse, config)
    PublishedShop(warehouse, before).publish(shop.run(0), lists, lambda _: "mix/old")
    for day in range(1, 5):
        shop.publish(shop.run(day), lists, variant)
    shop.know(
        shop.run(4),
        PRICES,
        [
            (day, user, "a")
            for day in range(2, 5)
            for number, user in enumerate(USERS)
            if number % 10 < (4 if arms[user] else 2)
        ],
    )
    answer = compare(config, "mix")
    assert (answer["nights"], answer["first_night"], answer["last_night"]) == (3, "2026-11-02", "2026-11-04")
    assert (answer["control"], sum(answer["users"].values()), answer["switched_users"]) == ("old", 600, 0)
    assert not answer["sample_ratio_mismatch"]
    results = {row["metric"]: row for row in answer["results"]}
    assert set(results) == {"hitrate@10", "ndcg@10", "taken_per_list", "revenue_per_list"}
    hits = results["hitrate@10"]
    assert hits["mean"] == pytest.approx(0.4, abs=0.03)
    assert hits["control_mean"] == pytest.approx(0.2, abs=0.03)
    assert hits["different"]
    lift = hits["lift_percent"]
    assert 0 < lift["low"] < lift["estimate"] < lift["high"]
    assert results["revenue_per_list"]["mean"] == pytest.approx(10 * hits["mean"], abs=1e-4)


def test_arms_of_wrong_sizes_are_flagged(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(warehouse, experiments=[{"name": "mix", "arms": ARMS}])
    shop = PublishedShop(warehouse, config)
    lists: Rows = [(user, ["a"]) for user in USERS]
    for day in range(2):
        shop.publish(shop.run(day), lists, lambda user: "mix/new" if int(user[1:]) % 4 else "mix/old")
    shop.know(shop.run(1), PRICES, [(1, "u0000", "a")])
    answer = compare(config, "mix")
    assert answer["users"] == {"old": 150, "new": 450}
    assert answer["sample_ratio_mismatch"]
    assert "do not have the sizes of their shares" in capsys.readouterr().err


def test_a_night_without_lists_is_compared_as_one_without_users(
    warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(warehouse, experiments=[{"name": "mix", "arms": ARMS}])
    shop = PublishedShop(warehouse, config)
    shop.publish(shop.run(0), [])
    shop.publish(shop.run(1), [("ann", ["a"])], lambda _: "mix/new")
    shop.publish(shop.run(2), [("ann", ["a"])], lambda _: "mix/new")
    shop.know(shop.run(2), PRICES, [(2, "ann", "a")])
    answer = compare(config, "mix")
    assert (answer["nights"], answer["users"]) == (2, {"old": 0, "new": 1})
    hits = answer["results"][0]
    assert (hits["mean"], hits["control_mean"], hits["different"]) == (1.0, None, False)
    assert hits["lift_percent"] == {"estimate": None, "low": None, "high": None}
    assert "no interval yet. An arm has fewer than 100 users" in capsys.readouterr().err


def shop_of_one_event(warehouse: Path) -> tuple[Config, PublishedShop]:
    """Two nights, after the first of which one user took an item."""
    config = make_config(warehouse)
    shop = PublishedShop(warehouse, config)
    for day in range(2):
        shop.publish(shop.run(day), LISTS)
    shop.know(shop.run(1), PRICES, [(1, "ann", "a")])
    return config, shop


def test_one_active_user_has_a_value_without_an_interval(warehouse: Path) -> None:
    config, _ = shop_of_one_event(warehouse)
    answer = realized(config)
    found = {row["metric"]: row for row in answer["results"]}
    assert (found["hitrate@10"]["value"], found["hitrate@10"]["low"], found["hitrate@10"]["high"]) == (1.0, None, None)
    assert found["taken_per_list"]["low"] is not None


def test_an_experiment_that_began_before_the_joined_nights_is_said(
    warehouse: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(warehouse, experiments=[{"name": "mix", "arms": ARMS}], realized={"nights": 1})
    shop = PublishedShop(warehouse, config)
    for day in range(3):
        shop.publish(shop.run(day), [("ann", ["a"])], lambda _: "mix/new")
    shop.know(shop.run(2), PRICES, [(1, "ann", "a")])
    assert compare(config, "mix")["nights"] == 1
    began = f"mix: it began before {shop.run(1).date}, and older nights are not joined: raise realized.nights"
    assert began in caplog.text


def test_a_night_of_a_mistyped_year_does_not_hide_the_events(warehouse: Path) -> None:
    config = make_config(warehouse)
    shop = PublishedShop(warehouse, config)
    mistyped = RunFolder(shop.storage, "2999-11-01-0123456789ab")
    shop.publish(mistyped, LISTS)
    shop.know(mistyped, PRICES, [])
    for day in range(2):
        shop.publish(shop.run(day), LISTS)
    shop.know(shop.run(1), PRICES, EVENTS)
    back = pointer_to(shop.run(1))
    assert back is not None
    publish(shop.run(1), back.manifest_sha256, back.model_id, allow_older=True)
    assert realized(config)["nights"] == 1
    assert values(warehouse, 0)["all", "active_users"] == 3


def test_an_impression_without_an_item_is_not_counted(warehouse: Path) -> None:
    config, shop = shop_of_one_event(warehouse)
    shop.happened(shop.run(1), "impressions", [(moment(1, 9), "ann", "a"), (moment(1, 9), "ann", "")])
    realized(config)
    assert values(warehouse, 0)["live", "shown"] == 1
