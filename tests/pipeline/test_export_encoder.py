"""A night whose encoder ONNX Runtime runs: exported once, found again by later nights and the live service."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.errors import ConfigError
from recsys.model.checkpoint import ENCODER_FOLDER
from recsys.model.encoder_files import vectors_digest
from recsys.model.onnx_encoder import OnnxEncoder
from recsys.pipeline.encoders.encode_texts import encode_for, encode_items
from recsys.pipeline.encoders.open_encoder import open_encoder, open_trainable
from recsys.pipeline.encoders.settle_encoder import settle_encoder
from recsys.pipeline.encoders.transfer_encoder import share_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.settings import decode_config
from tests.pipeline.conftest import IDS
from tests.pipeline.test_encode_texts import card_of, tiny_encoder

INPUTS = {"events": {"path": "x"}, "items": {"path": "y", "text": "{title}"}}


def with_settings(run: Run, **encoder: Any) -> Run:
    changed = run.config.encoder.model_copy(update=encoder)
    return replace(run, config=run.config.model_copy(update={"encoder": changed}))


def test_one_export_serves_all_nights_and_trained_encoders_have_their_own(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], tmp_path: Path
) -> None:
    encoder = tiny_encoder(tmp_path / "configured", seed=1)
    settings = {"encoder": {"model": str(tmp_path / "configured"), "max_tokens": 16, "precision": "fp32"}}
    run = with_settings(make_night(draw_events(100, days=40), settings=settings), engine="onnx", quantization="int8")
    record = encode_items(run)
    assert record.encoder_id == vectors_digest(encoder.digest, "int8")
    vectors = read_text_vectors(run, record.encoder_id)[1]
    assert (vectors * encoder.encode(IDS)).sum(axis=1).min() > 0.98

    place = Path(run.storage.path("models", f"encoder-{record.encoder_id}-onnx"))
    before = (place / "hashes.json").stat().st_mtime_ns
    assert encode_items(run).encoded == 0
    assert (place / "hashes.json").stat().st_mtime_ns == before
    with open_encoder(run.storage, run.config, record.encoder_id, None) as live:
        assert isinstance(live, OnnxEncoder)
        np.testing.assert_array_equal(live.encode(IDS, batch_size=1), vectors)
    with open_trainable(run.storage, run.config, record.encoder_id, None) as found:
        assert not isinstance(found, OnnxEncoder), "training needs gradients"

    tuned = tiny_encoder(tmp_path / "tuned", seed=2)
    run.storage.upload_folder(tmp_path / "tuned", f"models/ranker-x/{ENCODER_FOLDER}")
    encode_for(with_settings(run, quantization="none"), card_of(tuned.digest, base_encoder_id="configured"))
    np.testing.assert_allclose(read_text_vectors(run, tuned.digest)[1], tuned.encode(IDS), atol=1e-5)
    assert run.storage.exists(f"models/ranker-x/{ENCODER_FOLDER}-onnx/hashes.json")

    onnx = with_settings(run, quantization="none")
    share_encoder(run.storage, "ranker-x", "ranker-x-refit")
    for engine in (onnx, with_settings(onnx, engine="torch")):  # as the live service opens it, and the next night
        with open_encoder(run.storage, engine.config, tuned.digest, "ranker-x-refit") as live:
            np.testing.assert_allclose(live.encode(IDS), tuned.encode(IDS), atol=1e-5)

    again = tiny_encoder(tmp_path / "again", seed=3)  # the same model, whose training was started again
    run.storage.upload_folder(tmp_path / "again", f"models/ranker-x/{ENCODER_FOLDER}")
    encode_for(onnx, card_of(again.digest, base_encoder_id="configured"))
    np.testing.assert_allclose(read_text_vectors(run, again.digest)[1], again.encode(IDS), atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"quantization": "int8"}, "quantization=int8 needs engine=onnx, got torch"),
        ({"engine": "onnx", "quantization": "int8_weights"}, "quantization=int8_weights needs engine=torch"),
        ({"engine": "onnx", "use_gpu": True}, "engine=onnx runs on CPUs"),
        ({"engine": "onnx", "precision": "bf16"}, "computes in fp32, not in bf16"),
        ({"engine": "onnx", "quantization": "int8", "train": "lora"}, "int8 is for a frozen encoder"),
    ],
)
def test_what_does_not_go_together_is_refused(encoder: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode_config({"inputs": INPUTS, "encoder": encoder})


def test_weights_in_int8_have_vectors_of_their_own(
    make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], tmp_path: Path
) -> None:
    encoder = tiny_encoder(tmp_path / "configured", seed=1)
    settings = {"encoder": {"model": str(tmp_path / "configured"), "max_tokens": 16, "precision": "fp32"}}
    run = with_settings(make_night(draw_events(100, days=40), settings=settings), quantization="int8_weights")
    record = encode_items(run)
    assert record.encoder_id == vectors_digest(encoder.digest, "int8_weights")
    cosines = (read_text_vectors(run, record.encoder_id)[1] * encoder.encode(IDS)).sum(axis=1)
    assert 0.99 < cosines.min() < 1
    with open_encoder(run.storage, run.config, record.encoder_id, None) as found:
        assert found.digest == record.encoder_id
    with pytest.raises(ConfigError, match="not for a small one from scratch"):
        settle_encoder(with_settings(run, model=None))


def test_only_another_engine_gives_a_night_another_id() -> None:
    plain, torch, onnx = (
        decode_config({"inputs": INPUTS, "encoder": encoder}).digest()
        for encoder in ({}, {"engine": "torch"}, {"engine": "onnx"})
    )
    assert plain == torch != onnx
