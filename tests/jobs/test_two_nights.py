"""Two nights, one after the other: the second continues the model and the text encoder that the first one judged.

Both nights also refit their model with the held-out days. That model makes the lists, and nothing continues it.
"""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from recsys.model.checkpoint import ModelCard, read_card
from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.stored_vectors import read_text_vectors
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
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
    config = write_config(encoder=learning, train={"refit": True, "epochs": 2}, histories={"shards": 2})
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
    first, second = (each["judged"] for each in cards)
    records: list[dict[str, Any]] = [each.done(name) or {} for each in runs for name in ("encode", "finetune", "gate")]
    encode, _, _, encode_again, finetune, gate = records
    assert encode["encoded"] > encode_again["encoded"] == 0
    assert encode["encoder_id"] == encode_again["encoder_id"] == first.base_encoder_id == second.base_encoder_id
    assert len({encode["encoder_id"], first.encoder_id, second.encoder_id}) == 3
    assert finetune["warm_start"] == gate["compared_with"] == first.model_id
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
