"""Training on real Ray Train workers: every ZeRO stage of DeepSpeed, plain PyTorch, and a worker that dies.

Each fit takes seconds to start, so each has several options; together they cover every stage and every option.
`tests/training/test_engine_torch.py` compares both engines with each other.
"""

import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from recsys.model.checkpoint import load_ranker, read_card
from recsys.pipeline.encoders.encode_texts import open_encoder
from recsys.pipeline.model_records import TrainedModel
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.pipeline.run_stages import run_stage, run_stages
from recsys.pipeline.stage_progress import PROGRESS
from recsys.pipeline.stages import (
    ENCODE_TEXTS,
    INGEST_CATALOG,
    INGEST_EVENTS,
    LEARN_BASKETS,
    REENCODE,
    SHUFFLE_HISTORIES,
)
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.pipeline.training.train import finetune
from recsys.pipeline.training.windows import windows_of_shard
from recsys.pipeline.workers.cluster import cluster
from recsys.settings import Config, decode_config
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table
from recsys.training.progress import CANDIDATE_PASS, RETRIEVAL, score
from recsys.training.validation import validate
from recsys.training.window_batch import WindowBatch

BASE = {
    "date": "2026-11-22",
    "histories": {"max_length": 10, "shards": 2},
    "encoder": {
        "model": None,
        "scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 400, "pretrain_steps": 0},
    },
    "ranker": {"hidden_size": 16, "layers": 1, "heads": 2, "dropout": 0.0, "id_dropout": 0.0},
    "train": {
        "epochs": 2,
        "min_steps": 0,
        "recent_epochs": 0,
        "listwise_epochs": 0,
        "batch_size": 64,
        "learning_rate": 0.01,
        "cpus_per_worker": 1,
    },
}
#: Every option of training that is off by default.
ALL_OPTIONS: dict[str, object] = {
    "full_softmax_items": 40,
    "negatives": 30,
    "label_smoothing": 0.1,
    "recency_half_life_days": 30.0,
    "augment": ["crop", "mask", "reorder"],
    "adversarial_epsilon": 0.5,
    "targets": "next_days",
}
RELATIVE_TIME = {"relative_time": True}

Variant = Callable[..., Run]


def config_of(
    shop: Path,
    storage: Path,
    encoder: dict[str, object] | None = None,
    ranker: dict[str, object] | None = None,
    **train: object,
) -> Config:
    return decode_config(
        {
            **BASE,
            "ranker": {**BASE["ranker"], **(ranker or {})},  # type: ignore[dict-item]
            "storage": str(storage),
            "inputs": {
                "events": {"path": f"{shop}/events", "format": "csv", "columns": {"event": "event"}},
                "items": {"path": f"{shop}/items.parquet", "text": "{title}"},
            },
            "encoder": {**BASE["encoder"], **(encoder or {})},  # type: ignore[dict-item]
            "train": {**BASE["train"], **train},  # type: ignore[dict-item]
        }
    )


@pytest.fixture(scope="module")
def encoded_night(shop: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Iterator[Run]:
    """A night that is ready to be trained on."""
    run = open_run(config_of(shop, tmp_path_factory.mktemp("warehouse")))
    with cluster(min_cpus=2):
        run_stages(run, (INGEST_CATALOG, INGEST_EVENTS, SHUFFLE_HISTORIES, ENCODE_TEXTS))
        yield run


@pytest.fixture
def variant(encoded_night: Run, shop: Path, request: pytest.FixtureRequest) -> Variant:
    """The same night under another name and other settings of the training, the encoder and the ranker."""

    def make(
        name: str,
        encoder: dict[str, object] | None = None,
        ranker: dict[str, object] | None = None,
        **train: object,
    ) -> Run:
        folder = RunFolder(encoded_night.storage, f"2026-11-22-{name}")
        root = Path(encoded_night.storage.root)
        shutil.copytree(root / encoded_night.folder.dir, root / folder.dir)
        config = config_of(shop, root, encoder, ranker, **train)
        return replace(encoded_night, config=config, folder=folder)

    return make


def user_and_item_vectors(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    folder = Path(run.storage.path(run.model_path()))
    item_ids, text_vectors = read_text_vectors(run, read_card(folder).encoder_id)
    ranker, card = load_ranker(folder, item_ids, torch.from_numpy(text_vectors.copy()))
    assert card.trained_until == run.cutoff.isoformat()
    items = torch.arange(10).reshape(1, 10)
    with torch.no_grad():
        vectors = ranker.item_vectors()
        return ranker.user_vectors(vectors, items, torch.ones_like(items), torch.ones_like(items)), vectors


@pytest.fixture(scope="module")
def trained() -> dict[int, tuple[TrainedModel, tuple[torch.Tensor, torch.Tensor]]]:
    """Records and vectors by ZeRO stage."""
    return {}


@pytest.mark.parametrize(("stage", "compiling"), [(2, "always"), (3, "never")])  # 1 is that of a worker that died
def test_every_zero_stage_learns_the_same(
    variant: Variant,
    trained,
    stage: int,
    compiling: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Over two workers, with a compiled decoder in stage 2; the last batch of an epoch is smaller than the others."""
    run = variant(f"zero{stage}", zero_stage=stage, num_workers=2, compile=compiling)
    on_interrupt = signal.getsignal(signal.SIGINT)
    with caplog.at_level(PROGRESS, "recsys"):
        record = finetune(run)
    assert signal.getsignal(signal.SIGINT) is on_interrupt, "Ray Train would end the process without an answer"
    assert ("the decoder is compiled" in caplog.text) == (compiling == "always")
    assert "cannot be compiled" not in caplog.text
    assert "epoch 2 of at most 2 (softmax)" in caplog.text
    cleaner = "it cannot ask a Ray without a dashboard, and says so again and again"
    assert "PlacementGroupCleaner" not in capfd.readouterr().err, cleaner
    assert record.epochs == 2
    assert record.history[1]["loss"] < record.history[0]["loss"]
    assert record.validation_ndcg > 0.1
    trained[stage] = record, user_and_item_vectors(run)
    for other, vectors in trained.values():
        losses = [[epoch["loss"] for epoch in each.history] for each in (record, other)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
        for own, expected in zip(trained[stage][1], vectors, strict=True):
            torch.testing.assert_close(own, expected, rtol=0.01, atol=0.01)


def validation_ndcg(run: Run) -> float:
    """Of what is saved: the ranker, over the vectors that its encoder gives as it was read from its files."""
    folder = Path(run.storage.path(run.model_path()))
    item_ids, text_vectors = read_text_vectors(run, read_card(folder).encoder_id)
    ranker, _ = load_ranker(folder, item_ids, torch.from_numpy(text_vectors.copy()))
    tables = [
        windows_of_shard(run, shard, ["validation"])["validation"] for shard in run.record(SHUFFLE_HISTORIES).shards
    ]
    windows = [WindowBatch.of(pa.concat_tables(tables), len(item_ids), torch.device("cpu"))]
    return validate(ranker, windows, len(item_ids), run.config.recommend.exclude_seen)


def check_encoder(run: Run, record: TrainedModel) -> None:
    """The trained encoder is saved with the model, its digest names its vectors, and validation used them."""
    run_stage(run, REENCODE)
    card = read_card(Path(run.storage.path(run.model_path())))
    configured = run.record(ENCODE_TEXTS).encoder_id
    assert card.base_encoder_id == configured
    assert card.encoder_id == run.encoder_id != configured
    with open_encoder(run.storage, run.config, card.encoder_id, card.encoder_model) as encoder:
        assert encoder.digest == card.encoder_id
    texts = read_table(run.storage, run.catalog_path, ["text"])["text"].to_pylist()
    before, after = (read_text_vectors(run, each)[1] for each in (configured, card.encoder_id))
    np.testing.assert_allclose(encoder.encode(texts), after, atol=1e-5)
    assert np.abs(after - before).max() > 0.01
    chosen = record.history[record.best_epoch - 1]
    assert validation_ndcg(run) == pytest.approx(chosen[RETRIEVAL], abs=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"zero_stage": 3, "num_workers": 2, "precision": "fp32"}], ids=["cpu", "zero-3"]
)
def test_the_encoder_learns_from_baskets_before_the_ranker(variant: Variant, options: dict[str, object]) -> None:
    """By plain PyTorch, and by DeepSpeed on two workers. The ranker then reads the vectors of the kept encoder."""
    baskets = {"steps": 20, "users": 32, "items": 40, "checks": 2}
    settings: dict[str, object] = {"train": "baskets", "learning_rate": 0.005, "batch_size": 16, "baskets": baskets}
    run = variant(f"baskets-{len(options)}", settings, **{"batch_size": 32, "epochs": 1, **options})
    learned = run_stage(run, LEARN_BASKETS)
    assert [check["step"] for check in learned.history] == [0, 10, 20]
    assert learned.history[2]["loss"] < learned.history[1]["loss"]
    scores = [check[RETRIEVAL] for check in learned.history]
    assert (learned.before, learned.after) == (scores[0], max(scores))
    assert learned.best_step == 10 * int(np.argmax(scores))
    assert (learned.encoder_id != run.record(ENCODE_TEXTS).encoder_id) == bool(learned.best_step)
    if options:
        return  # how the ranker goes on does not depend on who trained the encoder
    finetune(run)
    reencoded = run_stage(run, REENCODE)
    assert (reencoded.encoder_id, reencoded.encoded) == (learned.encoder_id, 0)
    card = read_card(Path(run.storage.path(run.model_path())))
    assert card.base_encoder_id == run.record(ENCODE_TEXTS).encoder_id
    with open_encoder(run.storage, run.config, card.encoder_id, card.encoder_model) as encoder:
        assert encoder.digest == card.encoder_id == learned.encoder_id


def listwise_begun(folder: Path) -> bool:
    """Whether a checkpoint of the listwise phase lies below the folder."""
    try:
        return any(CANDIDATE_PASS in path.read_text() for path in folder.rglob("progress.json"))
    except FileNotFoundError:  # Ray deleted an older one in the meantime
        return False


@pytest.mark.parametrize(("engine", "process"), [("deepspeed", "ray::RayTrainWorker"), ("torch", "ray::train")])
def test_training_continues_after_a_worker_died(variant: Variant, engine: str, process: str) -> None:
    """It dies in the listwise phase, and the phase continues; so does an encoder with adapters that is trained too."""
    settings: dict[str, object] = {"train": "lora", "lora_rank": 4, "learning_rate": 0.002}
    run = variant(f"killed-{engine}", settings, epochs=2, listwise_epochs=3, patience=10, engine=engine)
    folder = Path(run.storage.path(run.train_dir))
    outcome: list[TrainedModel | BaseException] = []

    def train() -> None:
        try:
            outcome.append(finetune(run))
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            outcome.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    tick = threading.Event()
    while thread.is_alive() and not listwise_begun(folder):
        tick.wait(0.05)
    ours = psutil.Process().children(recursive=True)
    workers = [each for each in ours if " ".join(each.cmdline()).startswith(process)]
    assert len(workers) == 1, "training ended before it could be disturbed"
    workers[0].send_signal(signal.SIGKILL)
    thread.join()
    (record,) = outcome
    assert isinstance(record, TrainedModel), record
    assert [CANDIDATE_PASS in epoch for epoch in record.history] == [False, False, True, True, True]
    assert np.isfinite([epoch["loss"] for epoch in record.history]).all()
    check_encoder(run, record)


def test_early_stopping_keeps_the_best_epoch(variant: Variant) -> None:
    """One worker without DeepSpeed. The model has an id embedding for each item of the catalog, in its order."""
    run = variant("patience", epochs=30, patience=2, learning_rate=0.1)
    assert not run.config.train.uses_deepspeed
    record = finetune(run)
    folder = Path(run.storage.path(run.model_path()))
    vocabulary = pq.read_table(folder / "vocabulary.parquet")
    assert vocabulary["item_id"].combine_chunks().equals(read_text_vectors(run, run.encoder_id)[0])
    counted = read_table(run.storage, run.item_counts_path("train"))["item_id"].to_pylist()
    assert set(vocabulary.filter(vocabulary["known"])["item_id"].to_pylist()) == set(counted)
    assert validation_ndcg(run) == pytest.approx(record.history[record.best_epoch - 1][RETRIEVAL], abs=1e-4)
    assert record.epochs < 30
    scores = [epoch["validation_ndcg@10"] for epoch in record.history]
    assert record.best_epoch == 1 + int(np.argmax(scores))
    assert record.epochs == record.best_epoch + 2


def test_the_listwise_phase_starts_from_the_best_epoch(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    """Two workers that share the weights (ZeRO-3), with every option; validation decides what the card says.

    The encoder learns with the ranker, and is sharded too; what is saved is what the best epoch ended with.
    """
    # small batches: each has fewer items than the catalog, and is encoded in several parts
    encoder: dict[str, object] = {"train": "full", "batch_size": 32, "learning_rate": 0.002}
    settings = {"epochs": 30, "patience": 1, "learning_rate": 0.1, "listwise_epochs": 2}
    shared: dict[str, object] = {"zero_stage": 3, "num_workers": 2, "batch_size": 32, "precision": "fp32"}
    run = variant("listwise", encoder, RELATIVE_TIME, **shared, **settings, **ALL_OPTIONS)
    with caplog.at_level(logging.INFO, "recsys"):
        record = finetune(run)
    history, softmax = record.history, record.epochs - 2
    assert [CANDIDATE_PASS in epoch for epoch in history] == [False] * softmax + [True] * 2
    best = 1 + int(np.argmax([epoch[RETRIEVAL] for epoch in history[:softmax]]))
    assert best == softmax - 1, "patience ends the first phase an epoch after its best"
    assert f"the listwise phase begins from epoch {best}" in caplog.text
    assert record.best_epoch == 1 + int(np.argmax([score(epoch) for epoch in history]))
    chosen = history[record.best_epoch - 1]
    assert record.candidate_pass == (chosen.get(CANDIDATE_PASS, 0.0) > chosen[RETRIEVAL])
    card = read_card(Path(run.storage.path(run.model_path())))
    assert card.candidate_pass == record.candidate_pass
    assert card.spec.relative_time
    assert history[1]["loss"] < history[0]["loss"]
    check_encoder(run, record)


def test_accumulation_and_bf16(variant: Variant) -> None:
    """With adapters on the encoder, whose weights then are in bf16 too."""
    run = variant("bf16", {"train": "lora"}, RELATIVE_TIME, precision="bf16", accumulation_steps=2, zero_stage=2)
    record = finetune(run)
    run_stage(run, REENCODE)
    assert record.history[1]["loss"] < record.history[0]["loss"]
    weights = user_and_item_vectors(run)
    assert all(torch.isfinite(each).all() for each in weights)
