"""Shops of a few users, items and events: each night gets through, and says what it could not do and why."""

import datetime as dt
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from jobs.show import main as show
from recsys.model.checkpoint import read_card
from recsys.model.default_encoder import PACKAGED
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS, FINETUNE, FIT_FUSION, REFIT, RUN_GATE
from recsys.pipeline.stored.stored_fusion import read_fusion
from recsys.schema import RECOMMENDATIONS
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder
from tests.conftest import END, tiny_config

#: (user, item, days before the night)
Event = tuple[str, str, float]
RANKER = ("retrieval", "candidate_pass")


class Night(NamedTuple):
    """A finished night."""

    run: Run
    lists: dict[str, list[str]]
    sources: set[str]
    log: str
    config: Path


NightOf = Callable[..., Night]


@pytest.fixture
def night_of(run_job, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> NightOf:
    """Run the night of some events and titles; each list is checked."""

    def run_night(
        events: list[Event],
        titles: list[str | None],
        name: str = "shop",
        event_weights: dict[str, float] | None = None,
        **sections: Any,
    ) -> Night:
        folder = tmp_path / name
        folder.mkdir()
        noon = dt.datetime.combine(END, dt.time(12))
        times = [noon - dt.timedelta(days=days) for *_, days in events]
        users, items = ([event[place] for event in events] for place in (0, 1))
        pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": times}), folder / "events.parquet")
        ids = [f"i{number}" for number in range(len(titles))]
        catalog = pa.table({"item_id": ids, "title": pa.array(titles, pa.string())})
        pq.write_table(catalog, folder / "items.parquet")
        inputs = {
            "events": {"path": f"{folder}/events.parquet"},
            "items": {"path": f"{folder}/items.parquet", "text": "{title}"},
            "event_weights": event_weights or {},
        }
        config = tiny_config(folder, sections.pop("storage", folder / "warehouse"), **sections)
        config["inputs"] = inputs
        path = folder / "config.yaml"
        with path.open("w") as stream:
            YAML(typ="safe", pure=True).dump(config, stream)
        code, answer = run_job("nightly", "--config", path)
        log = " ".join(capsys.readouterr().err.split())
        assert (code, answer["status"]) == (0, "published"), answer
        rows = ds.dataset(answer["path"], format="parquet", schema=RECOMMENDATIONS, exclude_invalid_files=True)
        table = rows.to_table().sort_by([("user_id", "ascending"), ("rank", "ascending")])
        lists: dict[str, list[str]] = {user: [] for user in users}
        for row in table.to_pylist():
            lists[row["user_id"]].append(row["item_id"])
            assert row["rank"] == len(lists[row["user_id"]])
        seen = {(user, item) for user, item in zip(users, items, strict=True)}
        for user, own in lists.items():
            assert len(set(own)) == len(own)
            assert not seen & {(user, item) for item in own}
        run = stored_run(RunFolder(Storage(config["storage"]), answer["run_id"]))
        return Night(run, lists, set(table["source"].to_pylist()), log, path)

    return run_night


def titles(number: int) -> list[str | None]:
    return [f"{color} {thing}" for color in ("blue", "red", "green") for thing in ("lamp", "vase", "desk", "rug")][
        :number
    ]


def shop(num_users: int, num_events: int, first: float, step: float, num_items: int = 12) -> list[Event]:
    """Events of users who take different items, the first so many days before the night."""
    return [
        (f"u{user}", f"i{(3 * user + place * (1 + user % 3)) % num_items}", first - place * step)
        for user in range(num_users)
        for place in range(num_events)
    ]


NOTHING_TO_LEARN = {
    "a first week": (
        shop(8, 5, first=5, step=1),
        "all 40 events are of the last 7 days (gate.holdout_days), the oldest of 2026-11-17",
    ),
    "one event each": (
        shop(8, 1, first=20, step=0),
        "each of the 8 users has one event before 2026-11-16, and none follows another",
    ),
    "one event each, then more": (
        [*shop(8, 1, first=20, step=0), *shop(8, 1, first=1, step=0)],
        "one event before 2026-11-16 (8 events since then are held out by gate.holdout_days=7)",
    ),
    "all at one second": (shop(8, 3, first=0, step=0), "all 24 events are of the last 7 days"),
    "one event": ([("u0", "i0", 20.0)], "each of the 1 users has one event before 2026-11-16"),
}


@pytest.mark.parametrize("case", NOTHING_TO_LEARN)
def test_lists_without_anything_to_learn_from(night_of: NightOf, case: str) -> None:
    """They are made of what is known, and the log names the cause."""
    events, cause = NOTHING_TO_LEARN[case]
    night = night_of(events, titles(12), train={"refit": case == "a first week"})
    assert "nothing to learn from" in night.log
    assert cause in night.log
    assert all(len(own) == 5 for own in night.lists.values()) or case == "one event"
    assert "ranker" not in night.sources
    record = night.run.record(FINETUNE)
    assert (record.windows, record.epochs, record.trained) == (0, 0, False)
    weights = night.run.record(FIT_FUSION).weights
    assert not any(weights.get(name) for name in RANKER)
    assert weights["popularity"] > 0
    assert weights["text"] > 0
    assert not read_card(Path(night.run.storage.path(night.run.model_path(night.run.published_id)))).trained


def test_the_published_model_stays_where_a_later_night_has_only_new_events(night_of: NightOf) -> None:
    """An export that holds the last week alone: nothing is before the holdout. The refit learns the week."""
    first = night_of(shop(8, 5, first=60, step=3), titles(12))
    week = shop(8, 3, first=-3, step=1)
    storage = str(first.run.storage.root)
    later = night_of(week, titles(12), "later", storage=storage, date="2026-11-29", train={"refit": True})
    assert "all 24 events are of the last 7 days" in later.log
    assert "the published model stays" in later.log
    record = later.run.record(FINETUNE)
    assert (record.windows, record.epochs, record.trained) == (0, 0, True)
    assert record.warm_start == first.run.published_id
    assert later.run.record(FIT_FUSION).weights["retrieval"] == 1
    assert later.run.record(REFIT).windows > 0


def test_events_without_weight_count_as_1_and_are_named(night_of: NightOf) -> None:
    night = night_of(shop(8, 4, first=30, step=2), titles(12), event_weights={"interaction": 0.0})
    assert "none of the events has a weight above 0 (weight 0: 'interaction' (32))" in night.log
    assert night.run.record(FINETUNE).trained


def test_too_few_windows_for_the_workers_are_named(night_of: NightOf) -> None:
    night = night_of(shop(1, 4, first=30, step=2), titles(12), train={"num_workers": 2})
    assert "1 training windows are too few for train.num_workers=2" in night.log


def test_validation_leaves_something_to_learn_from(night_of: NightOf) -> None:
    """Each user has two baskets: if the last one of all were held out, nothing would follow anything."""
    night = night_of(shop(8, 2, first=30, step=2), titles(12))
    record = night.run.record(FINETUNE)
    assert (record.windows, record.validation_users, record.trained) == (8, 0, True)


OTHER_SHOPS = {
    "one user": (shop(1, 5, first=30, step=2), 12),
    "one item": ([(f"u{user}", "i0", 20.0 - day) for user in range(3) for day in range(2)], 1),
    "two items": ([(f"u{user}", f"i{user % 2}", 20.0 - day) for user in range(6) for day in range(2)], 2),
    "the same history": ([(f"u{user}", f"i{place}", 20.0 - place) for user in range(9) for place in range(4)], 12),
    "one second, long ago": (shop(8, 3, first=20, step=0), 12),
    "strangers in the holdout": ([*shop(8, 5, first=60, step=3), ("new", "i0", 1.0)], 12),
}


@pytest.mark.parametrize("case", OTHER_SHOPS)
def test_other_small_shops(night_of: NightOf, case: str) -> None:
    """A list is as long as the catalog allows."""
    events, num_items = OTHER_SHOPS[case]
    night = night_of(events, titles(num_items))
    had = {user: {item for owner, item, _ in events if owner == user} for user in night.lists}
    assert {user: len(own) for user, own in night.lists.items()} == {
        user: min(5, num_items - len(items)) for user, items in had.items()
    }


TITLES = {
    "empty": (lambda number: ["", None, " "][number % 3], "the texts of all 12 items are empty"),
    "some empty": (lambda number: None if number % 2 else f"lamp {number}", "the texts of 6 of 12 items are empty"),
    "equal": (lambda _: "lamp", "all 12 items have the same text"),
    "signs": (
        lambda number: ("!?.", "😀🎉", "مصباح", "")[number % 4] * (number + 1),
        "texts of 6 of 12 items are empty",
    ),
}


@pytest.mark.parametrize("case", TITLES)
def test_titles_that_say_little(night_of: NightOf, case: str) -> None:
    """Ids tell the items apart; the first night without texts leaves no encoder to later ones."""
    title, warning = TITLES[case]
    night = night_of(shop(8, 5, first=30, step=3), [title(number) for number in range(12)])
    assert all(len(own) == 5 for own in night.lists.values())
    assert warning in night.log
    assert bool(night.run.storage.list("models/scratch-encoders")) == (case != "empty")


def test_the_default_encoder_is_pretrained_and_kept_with_the_run(night_of: NightOf) -> None:
    night = night_of(shop(8, 5, first=30, step=3), titles(12), encoder={"model": "auto"})
    assert night.run.config.encoder.model == PACKAGED
    assert night.run.record(ENCODE_TEXTS).dim == 384
    assert not night.run.storage.list("models/scratch-encoders")
    assert all(len(own) == 5 for own in night.lists.values())


def test_nothing_is_learned_with_a_budget_of_never(night_of: NightOf) -> None:
    """Lists are made of the texts of each history."""
    night = night_of(
        shop(8, 5, first=30, step=3), titles(12), train={"budget": "never"}, recommend={"signals": ["text"]}
    )
    assert "train.budget is never: lists are made of" in night.log
    assert "text" in night.sources <= {"text", "popularity"}
    assert (night.run.record(FINETUNE).trained, night.run.record(FINETUNE).windows) == (False, 0)


def test_a_budget_of_never_makes_no_refit_either(night_of: NightOf) -> None:
    """Also where the published model has none that could be used again."""
    first = night_of(shop(8, 5, first=60, step=3), titles(12))
    train = {"refit": True, "budget": "never"}
    events = [*shop(8, 5, first=60, step=3), *shop(8, 1, first=-3, step=1)]
    storage = str(first.run.storage.root)
    later = night_of(events, titles(12), "later", storage=storage, date="2026-11-29", train=train)
    assert later.run.record(FINETUNE).reused == "train.budget is never"
    assert later.run.record(REFIT).windows == 0
    assert read_card(Path(later.run.storage.path(later.run.model_path(later.run.refit_id)))).trained


def test_show_and_explain_say_why_a_list_is_empty(night_of: NightOf, run_job, capsys) -> None:
    """Everybody saw everything, or what is left may not be recommended."""
    events = [(f"u{user}", f"i{item}", 20.0 - item) for user in range(3) for item in range(3)]
    night = night_of(events, titles(4), rerank={"block": ["i3"]})
    assert not any(night.lists.values())
    assert show(["--config", str(night.config), "u1"]) == 0
    printed = capsys.readouterr().out
    why = (
        "user 'u1': the list is empty: no item is left; the user has seen 3 items, which recommend.exclude_seen leaves "
        "out; of the 4 items of the catalog 3 may be recommended (left out: blocked 1)"
    )
    assert why in printed
    assert "no user has a list: for none of the 3 users" in printed
    code, answer = run_job("explain", "--config", night.config, "u1", "u0")
    assert (code, answer["lists"]) == (0, [])
    assert f"user 'u1': the list is empty: {answer['empty']['u1']}" == why


ODD_IDS = ("-5", "-abc", "--users", "--", "a,b", "a b", "a/b", "..", "é😀", 'it\'s "x"', "100%", "a?b#c", "[red]")


def test_ids_of_any_letters(night_of: NightOf, run_job, capsys) -> None:
    night = night_of([(user, f"i{item}", 20.0 - item) for user in ODD_IDS for item in range(3)], titles(12))
    assert all(night.lists.values())
    for user in ODD_IDS:
        assert show(["--config", str(night.config), "--users", "3", "--", user]) == 0
        assert f"user {user}" in [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    code, answer = run_job("explain", "--config", night.config, "--", *ODD_IDS)
    assert code == 0
    assert set(night.lists) == {row["user_id"] for row in answer["lists"]}


def test_any_small_shop_gets_lists(night_of: NightOf) -> None:
    """Few users, items and events, at any time."""
    for seed in range(3):
        draw = random.Random(seed)  # noqa: S311 (nothing here is secret)
        num_items = draw.randint(1, 4)
        events = [
            (f"u{draw.randint(0, 3)}", f"i{draw.randrange(num_items)}", draw.choice([0.0, 0.0, 3.5, 8.0, 30.0]))
            for _ in range(draw.randint(1, 8))
        ]
        night_of(events, titles(num_items), name=f"shop-{seed}")


def test_a_first_night_that_learned_nothing_is_not_refused(night_of: NightOf) -> None:
    """Each user has one event, and what they take next only popularity foresees: the lists are made of it."""
    draw = random.Random(1)  # noqa: S311 (nothing here is secret)
    things = [
        f"{color} {thing}" for color in ("blue", "red", "green", "grey", "white") for thing in ("lamp", "vase", "rug")
    ]
    draw.shuffle(things)
    events = [(f"u{user}", f"i{min(draw.randrange(15) for _ in range(3))}", 20.0) for user in range(60)]
    events += [(f"u{user}", f"i{draw.randrange(2)}", 2.0) for user in range(60)]
    night = night_of(events, things)
    assert "nothing was learned, and ndcg@10" in night.log
    assert "the lists are made of popularity alone" in night.log
    assert night.run.record(RUN_GATE).verdict == "passed"
    assert read_fusion(night.run, night.run.published_id).weights == {"popularity": 1.0}
