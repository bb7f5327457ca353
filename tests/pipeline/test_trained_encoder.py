"""A pretrained encoder that learns the catalog's texts: once, found by later nights and by the live service."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.errors import ConfigError, InputError
from recsys.model.file_hashes import HASHES_FILE
from recsys.pipeline.encoders.encode_texts import configured_encoder, encode_items
from recsys.pipeline.encoders.open_encoder import open_encoder
from recsys.pipeline.encoders.settle_encoder import settle_encoder
from recsys.pipeline.run import Run
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from tests.pipeline.conftest import IDS
from tests.pipeline.test_encode_texts import tiny_encoder

ADAPT = {"steps": 20, "batch_size": 4, "learning_rate": 1e-2}


@pytest.fixture
def run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], tmp_path: Path) -> Run:
    tiny_encoder(tmp_path / "configured", seed=1)
    encoder = {"model": str(tmp_path / "configured"), "max_tokens": 16, "precision": "fp32", "adapt": ADAPT}
    return make_night(draw_events(100, days=40), settings={"encoder": encoder})


def with_settings(run: Run, **changes: Any) -> Run:
    encoder = type(run.config.encoder)(**run.config.encoder.model_dump() | changes)
    return replace(run, config=run.config.model_copy(update={"encoder": encoder}))


def test_it_is_trained_once_and_read_by_the_night_and_the_live_service(
    run: Run, ray_cluster: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "recsys")
    plain = with_settings(run, adapt={"steps": 0})
    plain_id = configured_encoder(plain)
    record = encode_items(run)
    assert record.encoder_id != plain_id
    stored = read_text_vectors(run, record.encoder_id)[1]
    with open_encoder(run.storage, run.config, record.encoder_id, None) as live:
        np.testing.assert_allclose(live.encode(IDS), stored, atol=1e-6)
        assert live.digest == record.encoder_id
    with open_encoder(run.storage, plain.config, plain_id, None) as before:
        assert np.abs(before.encode(IDS) - stored).max() > 0.01, "the vectors are others"
    assert "learns the catalog's texts (20 steps)" in caplog.text
    assert run.storage.exists(f"models/encoder-{record.encoder_id}/{HASHES_FILE}")

    caplog.clear()
    assert encode_items(run).encoded == 0, "a later night finds it, and its vectors"
    assert "learns" not in caplog.text
    for changed in (with_settings(run, adapt=ADAPT | {"steps": 21}), with_settings(run, max_tokens=15)):
        assert changed.config.adapted_recipe(plain_id) != run.config.adapted_recipe(plain_id)

    weights = Path(run.storage.path(f"models/encoder-{record.encoder_id}/model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with (
        pytest.raises(InputError, match=r"model\.safetensors is not the file that was written"),
        open_encoder(run.storage, run.config, record.encoder_id, None),
    ):
        pass


def test_a_small_encoder_from_scratch_is_not_adapted(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.adapt\.steps=20 is for a pretrained encoder"):
        settle_encoder(with_settings(run, model=None))


def test_off_it_changes_no_digest(run: Run) -> None:
    digests = [with_settings(run, adapt=adapt).config.digest() for adapt in ({}, {"steps": 0, "batch_size": 7}, ADAPT)]
    assert digests[0] == digests[1] != digests[2]
