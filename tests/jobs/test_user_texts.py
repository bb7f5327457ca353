"""A night that reads texts of users (attributes, searches and reviews), on a real Ray, with real training."""

import argparse
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs.nightly import nightly
from jobs.start_service import load_live
from recsys.data.synthetic.shop import make_shop, write_shop
from recsys.data.synthetic.texts import with_texts
from recsys.model.checkpoint import FUSION_FILE, read_card
from recsys.model.features import UserTexts
from recsys.pipeline.encoders.encode_texts import open_encoder
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.scoring.load_snapshot import load_snapshot
from recsys.pipeline.stages import ENCODE_TEXTS, ENRICH_ITEMS, ENRICH_USERS, INGEST_EVENTS, SHUFFLE_HISTORIES
from recsys.ranking.lists import recommend_batch
from recsys.schema import HISTORIES, PROFILE, TEXTS
from recsys.serving.contracts import RecommendationRequest
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest, require_latest
from recsys.storage.runs import RunFolder
from tests.conftest import END, tiny_config
from tests.jobs.conftest import RunJob, WriteConfig

#: A user who only ever searched, and one who searched before ever touching an item.
SEARCHER, STARTER = "searcher", "starter"
MORE_EVENTS = f"""user_id,item_id,timestamp,event,text
{SEARCHER},,2026-11-20T08:00:00Z,search,oak bench
{STARTER},,2026-11-09T08:00:00Z,search,brass lantern
{STARTER},i0003,2026-11-09T08:00:05Z,view,
{STARTER},,2026-11-09T08:00:00Z,search,
"""


@pytest.fixture(scope="module")
def talking_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talking")
    shop = make_shop(num_users=150, num_items=60, num_days=30, seed=1, end=END)
    write_shop(with_texts(shop, seed=1), folder)
    (folder / "events" / "more.csv").write_text(MORE_EVENTS)
    return folder


def settings(shop: Path, storage: Path) -> dict[str, Any]:
    raw = tiny_config(shop, storage)
    raw["inputs"]["events"]["columns"]["text"] = "text"
    raw["inputs"]["users"] = {"path": f"{shop}/users.parquet", "text": "{age} year old who likes {likes}"}
    raw["enrich"] = {"users": {"skip_newest": 3, "step": 2}}
    raw["train"] |= {"epochs": 2, "augment": ["crop", "mask", "reorder"], "listwise_epochs": 1, "refit": True}
    return raw


@pytest.fixture(scope="module")
def talking_night(talking_shop: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Run:
    storage = tmp_path_factory.mktemp("talking-night") / "warehouse"
    config = decode_config(settings(talking_shop, storage))
    answer = nightly(config, argparse.Namespace(dry_run=False, force=False))
    assert answer["status"] == "published"
    return stored_run(RunFolder(Storage(str(storage)), answer["run_id"]))


def lists_of(storage: Storage) -> pa.Table:
    latest = read_latest(storage)
    assert latest is not None
    table = ds.dataset(storage.path(latest.path), format="parquet").to_table()
    return table.sort_by([("user_id", "ascending"), ("rank", "ascending")])


def everything(run: Run, folder: str) -> pa.Table:
    return ds.dataset(run.storage.path(folder), format="parquet").to_table()


def test_histories_hold_texts_and_counts_hold_none(talking_night: Run) -> None:
    histories = everything(talking_night, talking_night.folder.histories_dir)
    assert histories.schema.remove_metadata() == HISTORIES.append(TEXTS).append(PROFILE)
    users = {row["user_id"]: row for row in histories.to_pylist()}
    assert (users[SEARCHER]["item_ids"], users[SEARCHER]["texts"]) == ([""], ["oak bench"])
    assert (users[SEARCHER]["seen_item_ids"], users[SEARCHER]["profile"]) == ([], "")
    assert users[STARTER]["item_ids"] == ["", "i0003"]
    assert users["u00001"]["profile"].startswith(("1", "2", "3", "4", "5", "6", "7"))
    entries = [pair for row in users.values() for pair in zip(row["item_ids"], row["texts"], strict=True)]
    assert any(item and text for item, text in entries), "a review stands with its item"

    searches = everything(talking_night, talking_night.searches_dir)
    interactions = everything(talking_night, talking_night.interactions_dir)
    assert pc.all(pc.equal(searches["item_id"], "")).as_py()
    assert not pc.any(pc.equal(interactions["item_id"], "")).as_py()
    ever = pq.read_table(talking_night.storage.path(talking_night.item_counts_path("full")))
    assert pc.sum(ever["num"]).as_py() == len(interactions)
    record = talking_night.record(SHUFFLE_HISTORIES)
    assert record.searches == len(searches)
    assert len(interactions) + len(searches) + record.duplicates == talking_night.record(INGEST_EVENTS).accepted


def test_texts_are_written_for_items_and_users_on_ray(talking_night: Run) -> None:
    storage, items, users = talking_night.storage, *map(talking_night.record, (ENRICH_ITEMS, ENRICH_USERS))
    assert (items.enriched, items.rows, items.waiting, items.input_tokens) == (60, 60, 0, 0)
    assert 0 < users.enriched == users.rows < 150
    texts = pq.read_table(storage.path(talking_night.item_texts_path)).to_pylist()
    catalog = pq.read_table(storage.path(talking_night.catalog_path)).to_pylist()
    for item, own in zip(texts, catalog, strict=True):
        assert item["text"].startswith(own["text"])
        assert item["keywords"]
        assert item["text"].endswith(", ".join(item["keywords"]))
    histories = everything(talking_night, talking_night.folder.histories_dir)
    of_user = dict(zip(histories["user_id"].to_pylist(), histories[PROFILE.name].to_pylist(), strict=True))
    profiles = [row for row in everything(talking_night, talking_night.user_profiles_dir).to_pylist() if row["until"]]
    assert len(profiles) == users.enriched
    for row in profiles:
        assert of_user[row["user_id"]] == row["profile"]
        assert row["profile"].endswith(", ".join(row["keywords"]))
        assert " year old who likes " in row["profile"]  # that of the input stands first
        assert row["until"] < talking_night.cutoff
    left = {path.name for path in Path(storage.path(talking_night.folder.dir)).iterdir()}
    assert not left & {"text_requests", "user_facts", "item_sayings"}


def test_a_row_with_neither_item_nor_text_is_quarantined(talking_night: Run, talking_shop: Path) -> None:
    aside = everything(talking_night, talking_night.folder.quarantine_dir).to_pylist()
    missing = [json.loads(row["row"]) for row in aside if row["reason"] == "missing_item"]
    assert len(missing) > 1
    assert STARTER in {row["user_id"] for row in missing}
    assert not any((row["text"] or "").strip() for row in missing)


def test_who_only_searched_has_a_list_by_what_was_searched_for(talking_night: Run) -> None:
    lists = lists_of(talking_night.storage)
    histories = everything(talking_night, talking_night.folder.histories_dir)
    assert set(lists["user_id"].to_pylist()) == set(histories["user_id"].to_pylist())
    assert "" not in lists["item_id"].to_pylist()
    with talking_night.storage.local_folder(talking_night.model_path(talking_night.published_id)) as folder:
        assert read_card(folder).spec.user_texts


def test_a_query_alone_is_enough_for_the_service(talking_night: Run) -> None:
    """A history with one search whose text is new, as the live service makes it."""
    run, recommend = talking_night, talking_night.config.recommend
    query = "a rattan mirror"
    with open_encoder(run.storage, run.config, run.record(ENCODE_TEXTS).encoder_id, None) as encoder:
        texts = UserTexts(texts=pa.array([query]), vectors=encoder.encode([query]))
    snapshot = load_snapshot(run, run.published_id, recommend, "full").with_texts(texts)
    moment = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    row = {"user_id": "anybody", "item_ids": [""], "timestamps": [moment], "events": ["search"], "weights": [1.0]}
    history = pa.Table.from_pylist([row | {"seen_item_ids": [], "texts": [query]}], HISTORIES.append(TEXTS))
    nothing = pa.Table.from_pylist([row | {"seen_item_ids": [], "texts": [""]}], HISTORIES.append(TEXTS))

    found = recommend_batch(snapshot, history, recommend).lists.to_pylist()
    popular = recommend_batch(snapshot, nothing, recommend).lists.to_pylist()

    assert len(found) == recommend.top_k
    assert [row["item_id"] for row in found] != [row["item_id"] for row in popular]
    assert {row["source"] for row in popular} <= {"popularity", "exploration"}
    assert {row["reason"] for row in found if row["source"] == "text"} <= {"close to your query"}
    assert {row["reason"] for row in found if row["source"] == "ranker"} <= {"in line with what you told us"}


def test_who_only_says_what_they_are_gets_what_is_popular_among_those_alike(talking_night: Run) -> None:
    storage = talking_night.storage
    live = load_live(storage, require_latest(storage))
    asked = [{}, {"attributes": {"age": "30", "likes": "lamps"}}, {"attributes": {"age": "70", "likes": "vases"}}]
    moment = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    answers = live.answer([RecommendationRequest.model_validate(body) for body in asked], moment)
    assert [answer.strategy for answer in answers] == ["popular"] * 3
    assert not any(answer.warnings for answer in answers)
    nothing, young, old = ([(item.item_id, item.score) for item in answer.items] for answer in answers)
    assert nothing != young != old


def test_a_night_that_goes_on_after_training_gives_the_same_lists(
    talking_night: Run, talking_shop: Path, tmp_path: Path, run_job: RunJob
) -> None:
    """`jobs/finetune.py` trains and publishes nothing; the night takes its model up."""
    path = tmp_path / "config.json"  # JSON is YAML
    path.write_text(json.dumps(settings(talking_shop, tmp_path / "warehouse")))
    code, trained = run_job("finetune", "--config", path)
    assert (code, trained["status"], trained["model_id"]) == (0, "trained", talking_night.model_id)
    storage = Storage(str(tmp_path / "warehouse"))
    for name in ("ranker.safetensors", FUSION_FILE):
        assert storage.exists(f"models/{trained['model_id']}/{name}")
    folder = RunFolder(storage, talking_night.folder.run_id)
    record = folder.done("finetune")
    assert record is not None
    assert folder.done("gate") is None
    code, answer = run_job("nightly", "--config", path)
    assert (code, answer["status"], answer["run_id"]) == (0, "published", talking_night.folder.run_id)
    assert folder.done("finetune") == record
    assert lists_of(storage).equals(lists_of(talking_night.storage))


def test_the_plan_names_the_users(
    talking_shop: Path, tmp_path: Path, run_job: RunJob, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings(talking_shop, tmp_path / "warehouse")))
    code, answer = run_job("nightly", "--config", path, "--dry-run")
    assert (code, answer["status"]) == (0, "planned")
    inputs, stages = capsys.readouterr().err.split(" stages ")[:2]
    assert "users" in inputs
    assert "users" in stages


def test_a_users_table_without_the_column_is_refused(write_config: WriteConfig, run_job: RunJob, shop: Path) -> None:
    config = write_config()
    users = shop / "items.parquet"
    override = f"inputs.users={{path: {users}, columns: {{user_id: item_id}}, text: '{{age}}'}}"
    code, answer = run_job("nightly", "--config", config, "--set", override)
    assert code == 3
    assert "inputs.users.text: column 'age' is not in" in answer["error"]
