"""Nights, one after the other: the second continues the model and the text encoder that the first one judged.

Both nights also refit their model with the held-out days. That model makes the lists, and nothing continues it. The
third night finds that the ranker added nothing in the nights before, and uses both models again.
"""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from recsys.model.checkpoint import ModelCard, read_card
from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.schema import SIMILAR_ITEMS
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.manifest import read_manifest, verify
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table
from tests.conftest import END
from tests.jobs.conftest import RunJob, WriteConfig


def check_encoder(warehouse: Path, card: ModelCard, run_id: str, max_tokens: int) -> None:
    """The encoder is stored with its model, and the night read the vectors of that encoder."""
    encoder = TextEncoder.load(str(warehouse / "models" / card.model_id / "encoder"), max_tokens=max_tokens)
    assert encoder.digest == card.encoder_id
    run = stored_run(RunFolder(Storage(str(warehouse)), run_id))
    assert run.encoder_id == card.encoder_id
    texts = read_table(run.storage, run.catalog_path, ["text"])["text"].to_pylist()
    _, vectors = read_text_vectors(run, card.encoder_id)
    np.testing.assert_allclose(encoder.encode(texts), vectors, atol=1e-5)


def check_similar_items(warehouse: Path) -> None:
    """The table of the published night has every item of the catalog, and the manifest lists its files."""
    storage = Storage(str(warehouse))
    latest = require_latest(storage)
    manifest = read_manifest(storage, latest)
    verify(storage, manifest)
    listed = manifest["tables"]["similar_items"]
    table = pq.read_table(warehouse / listed["path"] / listed["files"][0]["name"], schema=SIMILAR_ITEMS)
    catalog = pq.read_table(warehouse / "runs" / latest.run_id / "catalog.parquet")["item_id"].to_pylist()
    assert table["item_id"].to_pylist() == [item for item in sorted(catalog) for _ in range(3)]
    assert table["rank"].to_pylist() == [1, 2, 3] * len(catalog)
    record = RunFolder(storage, latest.run_id).done("similar_items") or {}
    assert (record["rows"], record["pairs"], record["files"]) == (len(catalog), 3 * len(catalog), 1)


def check_refit(warehouse: Path, judged: str, listed: str, date: dt.date) -> None:
    """The lists come from a model that continued the judged one with the held-out days, under the same weights."""
    assert listed == f"{judged}-refit"
    card, base = (read_card(warehouse / "models" / name) for name in (listed, judged))
    assert (card.base, base.base) == (judged, None)
    end = date + dt.timedelta(days=1)
    assert base.trained_until < card.trained_until == f"{end.isoformat()}T00:00:00+00:00"
    for name, same in (("fusion.json", True), ("ranker.safetensors", False)):
        first, second = ((warehouse / "models" / model / name).read_bytes() for model in (listed, judged))
        assert (first == second) == same
    latest = json.loads((warehouse / "recommendations" / "LATEST.json").read_text())
    assert latest["model_id"] == listed


def test_a_night_continues_the_encoder_of_the_night_before(
    write_config: WriteConfig, run_job: RunJob, tmp_path: Path
) -> None:
    learning = {"train": "lora", "learning_rate": 0.005, "lora_rank": 4}
    config = write_config(
        encoder=learning,
        train={"refit": True, "epochs": 2},
        histories={"shards": 2},
        similar_items={"publish": True, "top_k": 3},
        gate={"tolerance": 0.5},  # weights that few users were fitted on may be worse than those of the night before
    )
    max_tokens = load_config(config).encoder.max_tokens
    warehouse = tmp_path / "warehouse"
    cards: list[dict[str, ModelCard]] = []
    runs: list[RunFolder] = []
    for date in (END - dt.timedelta(days=1), END):
        code, answer = run_job("nightly", "--config", config, "--date", date.isoformat())
        assert (code, answer["status"]) == (0, "published")
        runs.append(RunFolder(Storage(str(warehouse)), answer["run_id"]))
        judged = answer["model_id"].removesuffix("-refit")
        names = {"judged": judged, "listed": answer["model_id"]}
        cards.append({role: read_card(warehouse / "models" / name) for role, name in names.items()})
        for card in cards[-1].values():  # the refit keeps the encoder as it was fine-tuned
            check_encoder(warehouse, card, answer["run_id"], max_tokens)
        assert cards[-1]["listed"].encoder_id == cards[-1]["judged"].encoder_id
        check_refit(warehouse, judged, answer["model_id"], date)
    check_similar_items(warehouse)
    first, second = (each["judged"] for each in cards)
    records: list[dict[str, Any]] = [each.done(name) or {} for each in runs for name in ("encode", "finetune", "gate")]
    encode, _, _, encode_again, finetune, gate = records
    assert encode["encoded"] > encode_again["encoded"] == 0
    assert encode["encoder_id"] == encode_again["encoder_id"] == first.base_encoder_id == second.base_encoder_id
    assert len({encode["encoder_id"], first.encoder_id, second.encoder_id}) == 3
    assert finetune["warm_start"] == gate["compared_with"] == first.model_id
    check_new_events(warehouse, runs, first, answer)
    refit = runs[1].done("refit") or {}
    assert refit["model_id"] == cards[1]["listed"].model_id
    # the second night read the first one's texts from the store, and measured its model by its own vectors
    assert {path.stem for path in (warehouse / runs[1].dir / "text_vectors").iterdir()} == {
        encode["encoder_id"],
        first.encoder_id,
        second.encoder_id,
    }
    assert len(list((warehouse / "items" / first.encoder_id).iterdir())) == 1

    # the history of nights, as analysts read it
    nights = duckdb.sql(
        f"select run_date, count(distinct user_id) from read_parquet('{warehouse}/recommendations/"
        "run_date=*/run_id=*/shard-*.parquet', hive_partitioning=true) group by run_date order by run_date"
    ).fetchall()
    assert [date for date, _ in nights] == [END - dt.timedelta(days=1), END]
    assert all(users > 100 for _, users in nights)

    # what comes after reads the vectors of the encoder that the card names
    code, answer = run_job("evaluate", "--config", config, "--run", runs[1].run_id)
    assert (code, answer["status"]) == (0, "evaluated")

    check_reused_night(config, warehouse, runs[1], run_job)


def check_new_events(warehouse: Path, runs: list[RunFolder], first: ModelCard, answer: dict[str, Any]) -> None:
    """The second night validated no file again, and trained on few windows: those of its new day, and replayed ones."""
    notes, entries = (
        [*(warehouse / "validated").glob(pattern)] for pattern in ("nights/*.json", "[0-9a-f]*/*.parquet")
    )
    assert len(notes) == len(runs)
    files = [json.loads(note.read_text())["entries"] for note in notes]
    assert files[0] == files[1]
    assert len(files[0]) == len(entries) > 1
    whole, new = (run.done("finetune") or {} for run in runs)
    assert (whole["since"], new["since"]) == ("", first.trained_until)
    assert set(new["phases"]) == {"new_events"}
    assert 0 < new["windows"] <= whole["windows"]
    assert (runs[1].done("refit") or {})["windows"] > 0
    assert answer["training"] == f"continued with the events since {first.trained_until[:10]}"
    past = json.loads((warehouse / "models" / f"ranker-{runs[1].run_id}" / "training.json").read_text())
    assert (past["full"], past["trained"]) == ((END - dt.timedelta(days=1)).isoformat(), END.isoformat())
    assert past["full_ndcg"] == whole["validation_ndcg@10"]


def check_reused_night(config: Path, warehouse: Path, before: RunFolder, run_job: RunJob) -> None:
    """A night without training: the models are those of the night before, and everything says so."""
    judged = f"ranker-{before.run_id}"
    stored = warehouse / "models" / judged / "training.json"
    past = json.loads(stored.read_text())
    assert past["trained"] == past["night"] == END.isoformat()
    nothing = {"percent": 0.1, "low": -0.4, "high": 0.6, "users": 300}
    stored.write_text(json.dumps(past | {"within_noise": 3, "gain": nothing}))

    date = END + dt.timedelta(days=1)
    code, answer = run_job("nightly", "--config", config, "--date", date.isoformat())
    assert (code, answer["status"]) == (0, "published")
    reason = f"the ranker adds +0.1 % [-0.4, +0.6] here; trained every 7th night, last on {END}"
    assert answer["training"] == reason
    assert set(answer["gains"]) == {"ranker", "text", "ranker and text"}
    assert reason in Path(answer["report"]).read_text()
    run = RunFolder(Storage(str(warehouse)), answer["run_id"])
    finetune, refit, gate = (run.done(name) or {} for name in ("finetune", "refit", "gate"))
    assert (finetune["warm_start"], finetune["epochs"], refit["windows"]) == (judged, 0, 0)
    assert gate["compared_with"] == judged
    assert gate["rows"] > 0

    names = (judged, f"ranker-{run.run_id}")
    for suffix in ("", "-refit"):
        old, new = (warehouse / "models" / f"{name}{suffix}" for name in names)
        first, second = (load_file(folder / "ranker.safetensors") for folder in (old, new))
        assert all(torch.equal(first[name], second[name]) for name in first), "the catalog is the same"
        known = [pq.read_table(folder / "vocabulary.parquet") for folder in (old, new)]
        assert known[0] == known[1], "an item that was not trained yet stays unknown to the model"
        cards = [read_card(folder) for folder in (old, new)]
        assert len({(card.encoder_id, card.trained_until) for card in cards}) == 1
    assert answer["model_id"] == cards[1].model_id
    assert cards[1].base == names[1]
    past = json.loads((warehouse / "models" / names[1] / "training.json").read_text())
    assert (past["trained"], past["night"]) == (END.isoformat(), date.isoformat())
