"""A shop without any event: what its night publishes, and what the live service answers from it."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from jobs.show import main as show
from jobs.start_service import load_live
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE, FIT_FUSION, RUN_GATE
from recsys.schema import RECOMMENDATIONS
from recsys.serving.contracts import HistoryEvent, RecommendationRequest
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.runs import RunFolder
from tests.conftest import END, tiny_config
from tests.jobs.conftest import RunJob, WriteConfig

THINGS = ("oak desk lamp", "copper vase", "garden hose", "wool blanket", "espresso cup", "fishing rod")
TITLES = [f"{color} {thing}" for thing in THINGS for color in ("blue", "red", "green")]
WISHES = {"ann": "drinks espresso every day", "bob": "goes fishing with a rod", "cid": ""}
NOW = dt.datetime.combine(END, dt.time(12), dt.UTC)


def write_config_of(folder: Path, **inputs: Any) -> Path:
    """A config over the titles; the events are left out unless `inputs` has them."""
    items = pa.table({"item_id": [f"i{number:02d}" for number in range(len(TITLES))], "title": TITLES})
    pq.write_table(items, folder / "items.parquet")
    config = tiny_config(folder, folder / "warehouse", encoder={"model": "auto"}, train={"refit": True})
    config["inputs"] = {"items": {"path": f"{folder}/items.parquet", "text": "{title}"}, **inputs}
    path = folder / "config.yaml"
    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump(config, stream)
    return path


def night_of(run_job: RunJob, path: Path, *options: str) -> tuple[Run, dict[str, list[dict[str, Any]]]]:
    """The published run, and the rows of its lists by user."""
    code, answer = run_job("nightly", "--config", path, *options)
    assert (code, answer["status"]) == (0, "published"), answer
    rows = ds.dataset(answer["path"], format="parquet", schema=RECOMMENDATIONS, exclude_invalid_files=True).to_table()
    lists: dict[str, list[dict[str, Any]]] = {}
    for row in rows.sort_by([("user_id", "ascending"), ("rank", "ascending")]).to_pylist():
        lists.setdefault(row["user_id"], []).append(row)
    return stored_run(RunFolder(Storage(str(path.parent / "warehouse")), answer["run_id"])), lists


def test_users_with_a_text_get_lists_by_it(run_job: RunJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key `events` is left out. Who has no text has no list; the live service answers everybody."""
    pq.write_table(pa.table({"user_id": list(WISHES), "wish": list(WISHES.values())}), tmp_path / "users.parquet")
    config = write_config_of(tmp_path, users={"path": f"{tmp_path}/users.parquet", "text": "{wish}"})
    assert run_job("nightly", "--config", config, "--dry-run")[1]["status"] == "planned"
    run, lists = night_of(run_job, config)
    log = " ".join(capsys.readouterr().err.split())
    assert "there is no event: users of inputs.users get lists by their texts" in log
    assert "nothing to learn from: there is no event. Meanwhile lists are made of texts" in log
    assert set(lists) == {"ann", "bob"}
    assert all(len(rows) == 5 for rows in lists.values())
    titles = dict(zip([f"i{number:02d}" for number in range(len(TITLES))], TITLES, strict=True))
    for user, thing in (("ann", "espresso cup"), ("bob", "fishing rod")):
        assert all(titles[row["item_id"]].endswith(thing) for row in lists[user][:3])
        assert {(row["source"], row["reason"]) for row in lists[user][:3]} == {("text", "close to what you told us")}
    assert not run.record(FINETUNE).trained
    assert run.record(FIT_FUSION).users == 0
    assert run.record(RUN_GATE).verdict == "not_examined"
    assert show(["--config", str(config), "ann"]) == 0

    live = load_live(run.storage, require_latest(run.storage))
    asked = [
        RecommendationRequest(query="a warm blanket", k=3),
        RecommendationRequest(history=[HistoryEvent(item_id="i03")], k=2),
        RecommendationRequest(attributes={"wish": "drinks espresso"}, k=3),
        RecommendationRequest(k=len(TITLES)),
        RecommendationRequest(user_id="bob"),
    ]
    searched, browsed, described, nobody, known = live.answer(asked, NOW)
    assert searched.strategy == "query"
    assert all(item.title.endswith("wool blanket") for item in searched.items)
    assert browsed.strategy == "personalized"
    assert all(item.title.endswith("copper vase") for item in browsed.items)
    assert {item.reason for item in browsed.items} == {"similar to blue copper vase"}
    assert all(item.title.endswith("espresso cup") for item in described.items)
    assert (nobody.strategy, len(nobody.items)) == ("popular", len(TITLES))
    assert {(item.source, item.reason) for item in nobody.items} == {("popularity", "typical of this shop")}
    assert (known.strategy, [item.item_id for item in known.items]) == (
        "precomputed",
        [row["item_id"] for row in lists["bob"]],
    )


def test_without_users_the_live_service_answers(run_job: RunJob, tmp_path: Path, capsys) -> None:
    """The file of the events has a header and no row, and nobody is known."""
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp\n")
    config = write_config_of(tmp_path, events={"path": f"{tmp_path}/events.csv", "format": "csv"})
    run, lists = night_of(run_job, config)
    assert lists == {}
    assert show(["--config", str(config)]) == 0
    assert "no user has a list: there are neither events nor profiles of users" in capsys.readouterr().out
    live = load_live(run.storage, require_latest(run.storage))
    (searched,) = live.answer([RecommendationRequest(query="something for the garden", k=3)], NOW)
    assert all(item.title.endswith("garden hose") for item in searched.items)

    (tmp_path / "warehouse" / "feedback").mkdir()
    event = {"event_id": "e1", "user_id": "dora", "item_id": "i09", "timestamp": NOW.isoformat(), "event": "view"}
    line = json.dumps(event | {"weight": None, "text": None})
    (tmp_path / "warehouse" / "feedback" / "20261122T120000Z-x.jsonl").write_text(f"{line}\n")
    _, lists = night_of(run_job, config, "--date", "2026-11-23")
    assert set(lists) == {"dora"}
    assert {row["reason"] for row in lists["dora"][:2]} == {"similar to blue wool blanket"}


def test_empty_files_are_refused_where_the_published_night_had_events(
    run_job: RunJob, night_before: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    """An export has failed; the lists of the night before stay."""
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp,event\n")
    config = write_config(date="2026-11-23")
    code, answer = run_job("nightly", "--config", config, "--set", f"inputs.events.path={tmp_path}/events.csv")
    assert code == 3
    assert "events.csv holds no rows, and the published night" in answer["error"]
    assert require_latest(Storage(str(tmp_path / "warehouse"))).run_id == night_before["run_id"]


def test_neither_events_nor_texts_are_refused(run_job: RunJob, tmp_path: Path) -> None:
    config = write_config_of(tmp_path)
    pq.write_table(pa.table({"item_id": ["i0"], "title": [""]}), tmp_path / "items.parquet")
    code, answer = run_job("nightly", "--config", config)
    assert code == 3
    assert "there are neither events nor texts of items" in answer["error"]
