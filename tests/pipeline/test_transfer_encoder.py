"""The encoder of another shop: it is copied once, checked, and read from the copy."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.errors import ConfigError, InputError
from recsys.model.checkpoint import ENCODER_FOLDER
from recsys.pipeline.encoders.encode_texts import encode_items
from recsys.pipeline.encoders.open_encoder import open_encoder
from recsys.pipeline.encoders.settle_encoder import settle_encoder, with_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.storage.filesystem import Storage
from tests.pipeline.conftest import IDS
from tests.pipeline.test_encode_texts import card_of, tiny_encoder

MODEL = "ranker-2026-11-21-0123456789ab-refit"


@pytest.fixture
def other(tmp_path: Path) -> Storage:
    """A shop that published a model with an encoder that it trained. Its config names a plugin that nobody else has."""
    storage = Storage(str(tmp_path / "other shop"))
    encoder = tiny_encoder(tmp_path / "trained", seed=3)
    storage.upload_folder(tmp_path / "trained", f"models/{MODEL}/{ENCODER_FOLDER}")
    storage.write_bytes(f"models/{MODEL}/{ENCODER_FOLDER}/pytorch_model.bin", b"never read")
    card = replace(card_of(encoder.digest, base_encoder_id="configured"), model_id=MODEL)
    storage.write_json(f"models/{MODEL}/model.json", card.as_dict())
    config = "plugins: [no_such_module]\nencoder: {model: null, max_tokens: 16, precision: auto}\n"
    storage.write_bytes("runs/2026-11-21-0123456789ab/config.yaml", config.encode())
    latest = dict.fromkeys(("run_id", "path", "published_at", "manifest_sha256"), "x")
    storage.write_json("recommendations/LATEST.json", latest | {"run_date": "2026-11-21", "model_id": MODEL})
    return storage


@pytest.fixture
def run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], other: Storage) -> Run:
    settings = {"encoder": {"model": f"storage://{other.root}", "max_tokens": 16, "precision": "fp32"}}
    return make_night(draw_events(100, days=40), settings=settings)


def test_a_run_reads_a_copy_of_the_published_encoder(run: Run, other: Storage, tmp_path: Path) -> None:
    settled = settle_encoder(run)
    assert (settled.model, settled.revision) == (run.config.encoder.model, MODEL)
    shutil.rmtree(other.root)  # nothing later needs it
    started = with_encoder(run, settled)
    assert settle_encoder(started) == settled
    record = encode_items(started)
    vectors = tiny_encoder(tmp_path / "again", seed=3).encode(IDS)
    np.testing.assert_allclose(read_text_vectors(started, record.encoder_id)[1], vectors, atol=1e-6)
    with open_encoder(run.storage, started.config, record.encoder_id, None) as encoder:
        np.testing.assert_allclose(encoder.encode(IDS), vectors, atol=1e-6)
    assert not [name for name in run.storage.list("models", recursive=True) if name.endswith(".bin")]


def test_another_models_encoder_can_be_named(run: Run, other: Storage) -> None:
    encoder = run.config.encoder.model_copy(update={"revision": MODEL})
    other.delete("recommendations/LATEST.json")
    assert settle_encoder(replace(run, config=run.config.model_copy(update={"encoder": encoder}))).revision == MODEL


@pytest.mark.parametrize(
    ("break_it", "error", "said"),
    [
        (lambda shop: shop.delete("recommendations/LATEST.json"), ConfigError, "nothing is published there"),
        (lambda shop: shop.delete_folder("models"), ConfigError, "model.json is missing|no model"),
        (lambda shop: shop.delete_folder("runs"), ConfigError, "no settings of the encoder"),
        (lambda shop: shop.delete_folder(f"models/{MODEL}/{ENCODER_FOLDER}"), ConfigError, "did not train it"),
        (
            lambda shop: shop.write_bytes(f"models/{MODEL}/{ENCODER_FOLDER}/config.json", b'{"hidden_size": 8}'),
            InputError,
            "damaged or were changed",
        ),
        (
            lambda shop: shop.write_json(
                f"models/{MODEL}/{ENCODER_FOLDER}/modules.json", [{"type": "x.Dense", "path": "../../secret"}]
            ),
            ConfigError,
            "is no folder in it",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused(
    run: Run, other: Storage, break_it: Callable[[Storage], None], error: type[Exception], said: str
) -> None:
    break_it(other)
    with pytest.raises(error, match=said) as caught:
        settle_encoder(run)
    assert str(other.root) in str(caught.value)
    assert not run.storage.list("models")


def test_weights_outside_of_the_folder_are_refused(run: Run, other: Storage) -> None:
    folder = f"models/{MODEL}/{ENCODER_FOLDER}"
    other.delete(f"{folder}/model.safetensors")
    index = {"weight_map": {"a": "../../../secret.safetensors"}}
    other.write_bytes(f"{folder}/model.safetensors.index.json", json.dumps(index).encode())
    with pytest.raises(InputError, match="outside of it"):
        settle_encoder(run)
