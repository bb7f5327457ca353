"""Lists of past nights joined with later events: two small warehouses, written by the parts that write real ones."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.past_nights import compare, realized
from recsys.data.assignment import assign_arms
from recsys.data.histories import shard_of
from recsys.errors import ConfigError, InputError
from recsys.schema import CATALOG, INTERACTIONS, REALIZED, RECOMMENDATIONS
from recsys.settings import Config, decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import Shard, lists_folder, write_manifest
from recsys.storage.publish import publish
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table
from tests.conftest import tiny_config

FIRST = dt.date(2026, 11, 1)
PRICES = {"a": "10", "b": "2.5", "c": "free", "d": "4"}
#: (days after the first night, user, item): hours are at noon.
Events = list[tuple[int, str, str]]
Rows = list[tuple[str, list[str]]]


def at(day: int, hour: int = 12) -> dt.datetime:
    return dt.datetime.combine(FIRST, dt.time(hour), tzinfo=dt.UTC) + dt.timedelta(days=day)


class Shop:
    """Writes published nights into a folder."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.storage, self.config, self.shards = Storage(str(folder)), config, config.histories.shards

    def night(self, day: int, lists: Rows, variant: Any = lambda _: "default", name: str = "0123456789ab") -> None:
        date = FIRST + dt.timedelta(days=day)
        run = RunFolder(self.storage, f"{date.isoformat()}-{name}")
        number = shard_of(pa.array([user for user, _ in lists]), self.shards)
        listed: list[Shard] = []
        for shard in range(self.shards):
            rows = [
                {
                    "user_id": user,
                    "rank": rank,
                    "item_id": item,
                    "score": -float(rank),
                    "reason": "",
                    "variant": variant(user),
                }
                | {"source": "ranker" if rank == 1 else "ease"}
                for (user, items), place in zip(lists, number, strict=True)
                if place == shard
                for rank, item in enumerate(items, 1)
            ]
            table = pa.Table.from_pylist(rows, schema=RECOMMENDATIONS)
            file = f"shard-{shard:05d}.parquet"
            stats = write_table(self.storage, f"{lists_folder(run)}/{file}", table, RECOMMENDATIONS)
            users = len({row["user_id"] for row in rows})
            listed.append(Shard(name=file, rows=stats.rows, users=users, bytes=stats.bytes, sha256=stats.sha256))
        details = {"model_id": "m", "config": self.config.model_dump(mode="json")}
        publish(run, write_manifest(run, date, listed, details), "m")

    def events(self, day: int, events: Events, name: str = "0123456789ab") -> None:
        """What the night of a day knows."""
        run = RunFolder(self.storage, f"{(FIRST + dt.timedelta(days=day)).isoformat()}-{name}")
        run.write_config(self.config.to_yaml())
        rows = [
            {"user_id": user, "item_id": item, "timestamp": at(when), "event": "buy", "weight": 1.0}
            for when, user, item in events
        ]
        table = pa.Table.from_pylist(rows, schema=INTERACTIONS)
        write_table(self.storage, f"{run.dir}/interactions/shard-00000.parquet", table, INTERACTIONS)
        items = [
            {"item_id": item, "text": item, "available": True, "attributes": {"price": price}, "text_hash": item}
            for item, price in PRICES.items()
        ]
        write_table(self.storage, f"{run.dir}/catalog.parquet", pa.Table.from_pylist(items, schema=CATALOG), CATALOG)


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


def make_config(warehouse: Path, **sections: Any) -> Config:
    return decode_config(tiny_config(Path("shop"), warehouse, **sections))


def values(warehouse: Path, day: int) -> dict[tuple[str, str], float]:
    table = pq.read_table(warehouse / "tables/realized/realized.parquet")
    assert table.schema == REALIZED
    date = FIRST + dt.timedelta(days=day)
    return {(row["segment"], row["metric"]): row["value"] for row in table.to_pylist() if row["run_date"] == date}


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
    shop = Shop(warehouse, config)
    shop.night(0, LISTS, lambda user: "x/new" if user == "ann" else "default")
    shop.night(1, LISTS)
    shop.night(12, LISTS)
    shop.events(12, EVENTS)
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


def test_impressions_of_the_live_service_are_joined_too(warehouse: Path) -> None:
    config = make_config(warehouse)
    shop = Shop(warehouse, config)
    shop.night(0, LISTS)
    shop.night(3, LISTS)
    shop.events(3, [(1, "ann", "a"), (2, "bob", "b")])
    seen = [("ann", "a", 1, 9), ("ann", "a", 1, 10), ("ann", "b", 1, 9), ("bob", "b", 2, 13), ("eve", "c", 9, 9)]
    lines = [
        {"event_id": str(number), "user_id": user, "item_id": item, "timestamp": at(day, hour).isoformat()}
        | {"event": "impression", "weight": None, "text": ""}
        for number, (user, item, day, hour) in enumerate(seen)
    ]
    lines.append({**lines[0], "event": "view"})
    text = "\n".join([*map(json.dumps, lines), '{"event": "impression", "us'])
    shop.storage.write_bytes("feedback/20261102T090000Z-w-0123-000000.jsonl", text.encode())
    realized(config)
    found = values(warehouse, 0)
    assert (found["live", "shown"], found["live", "taken_share"]) == (3, pytest.approx(1 / 3, abs=1e-6))


def test_only_the_kinds_of_events_that_count_are_joined(warehouse: Path) -> None:
    config = make_config(warehouse, realized={"events": ["view"]})
    shop = Shop(warehouse, config)
    shop.night(0, LISTS)
    shop.night(1, LISTS)
    shop.events(1, EVENTS)
    realized(config)
    assert values(warehouse, 0)["all", "active_users"] == 0


def test_a_night_that_was_published_again_counts_once(warehouse: Path) -> None:
    config = make_config(warehouse)
    shop = Shop(warehouse, config)
    shop.night(0, LISTS)
    shop.night(0, [("ann", ["d"])], name="0123456789ab-2")
    shop.night(1, LISTS)
    shop.events(1, EVENTS)
    assert realized(config)["nights"] == 1
    assert values(warehouse, 0)["all", "lists"] == 1


def test_what_is_missing_is_said(warehouse: Path) -> None:
    config = make_config(warehouse, realized={"price": "cost"})
    shop = Shop(warehouse, config)
    shop.night(0, LISTS)
    with pytest.raises(InputError, match=r"1 nights are published there.* needs at least 2"):
        realized(config)
    shop.night(1, LISTS)
    shop.events(1, EVENTS)
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

    Shop(warehouse, before).night(0, lists, lambda _: "mix/old")
    shop = Shop(warehouse, config)
    for day in range(1, 5):
        shop.night(day, lists, variant)
    shop.events(
        4,
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
    assert results["revenue_per_list"]["mean"] == pytest.approx(10 * hits["mean"])


def test_arms_of_wrong_sizes_are_flagged(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(warehouse, experiments=[{"name": "mix", "arms": ARMS}])
    shop = Shop(warehouse, config)
    lists: Rows = [(user, ["a"]) for user in USERS]
    for day in range(2):
        shop.night(day, lists, lambda user: "mix/new" if int(user[1:]) % 4 else "mix/old")
    shop.events(1, [(1, "u0000", "a")])
    answer = compare(config, "mix")
    assert answer["users"] == {"old": 150, "new": 450}
    assert answer["sample_ratio_mismatch"]
    assert "do not have the sizes of their shares" in capsys.readouterr().err
