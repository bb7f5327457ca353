"""Text vectors of the catalog: only new texts are encoded, also after an interruption and with another encoder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.errors import ConfigError
from recsys.model.checkpoint import ENCODER_FOLDER, ModelCard
from recsys.model.config import ScratchEncoderConfig
from recsys.model.ranker_spec import RankerSpec
from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.encoders import encode_texts as encode
from recsys.pipeline.encoders.encode_texts import encode_for, encode_items
from recsys.pipeline.run import Run
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.ranking.experiment_config import Experiment
from recsys.schema import CATALOG
from recsys.signals.donors import find_donors
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.text_ease import TextEase
from recsys.storage.tables import read_table, write_table
from recsys.training.pretrain import pretrain_encoder
from tests.pipeline.conftest import IDS

#: Rows of the catalog.
WITHOUT = [3, 7]


def tiny_encoder(folder: Path, seed: int) -> TextEncoder:
    config = ScratchEncoderConfig(hidden_size=8, layers=1, heads=2, vocab_size=300, pretrain_steps=0)
    pretrain_encoder(IDS, config, 16, seed).save(folder)
    return TextEncoder.load(str(folder), max_tokens=16)


@pytest.fixture
def run(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], tmp_path: Path) -> Run:
    """A run with its own encoder, and texts in parts of 5."""
    tiny_encoder(tmp_path / "configured", seed=1)
    settings = {"encoder": {"model": str(tmp_path / "configured"), "max_tokens": 16, "precision": "fp32"}}
    return make_night(draw_events(100, days=40), settings=settings)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "TEXTS_PER_PART", 5)


def test_an_interrupted_encoding_goes_on_with_what_is_missing(run: Run) -> None:
    record = encode_items(run)
    assert record.encoded == len(IDS)
    item_ids, vectors = read_text_vectors(run, record.encoder_id)
    assert item_ids.to_pylist() == IDS
    parts = sorted(Path(run.storage.path("items", record.encoder_id)).iterdir())
    assert len(parts) == 3
    parts[-1].unlink()  # as if the night had died before it
    again = encode_items(run)
    assert 0 < again.encoded < len(IDS)
    np.testing.assert_allclose(read_text_vectors(run, again.encoder_id)[1], vectors, atol=1e-6)


def test_items_without_a_text_have_none_in_common(run: Run) -> None:
    """Vectors of 0: no donors for the cold one of them, no weight between them, no place in the mean of the texts."""
    catalog = read_table(run.storage, run.catalog_path)
    texts = ["" if row in WITHOUT else text for row, text in enumerate(IDS)]
    columns = {"text": pa.array(texts), "text_hash": pa.array(texts)}
    for name, column in columns.items():
        catalog = catalog.set_column(catalog.column_names.index(name), CATALOG.field(name), column)
    write_table(run.storage, run.catalog_path, catalog, CATALOG)
    _, vectors = read_text_vectors(run, encode_items(run).encoder_id)
    assert np.flatnonzero(~vectors.any(axis=1)).tolist() == WITHOUT
    is_cold = np.arange(len(IDS)) == WITHOUT[0]
    assert not len(find_donors(vectors, is_cold, ~is_cold))
    model = TextEase.of(vectors)
    with_text = np.delete(vectors, WITHOUT, axis=0)
    np.testing.assert_allclose(model.mean, with_text.mean(axis=0), atol=1e-6)
    row = SparseRows.of(np.zeros(1, np.int64), np.array(WITHOUT[:1]), np.ones(1), 1)
    assert not model.weights(row, model.sum_up(row), np.arange(len(IDS))[None]).any()


def card_of(encoder_id: str, **facts: Any) -> ModelCard:
    spec = RankerSpec(
        num_items=1, text_dim=8, item_dim=8, num_event_kinds=1, decoder={}, dropout=0.0, id_dropout=0.0
    )  # fmt: skip
    return ModelCard(
        model_id="ranker-x",
        base=None,
        encoder_id=encoder_id,
        trained_until="",
        max_length=8,
        event_kinds=[],
        spec=spec,
        **facts,
    )


def test_an_arm_whose_model_reads_another_encoder_is_refused_before_the_training(run: Run) -> None:
    arms = [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5, "model": "ranker-x"}]
    experiment = Experiment.model_validate({"name": "models", "arms": arms})
    tried = replace(run, config=run.config.model_copy(update={"experiments": [experiment]}))
    configured = encode_items(tried).encoder_id  # the model is not there: the night says so at its start
    run.storage.write_json("models/ranker-x/model.json", card_of(configured).as_dict())
    encode_items(tried)
    run.storage.write_json("models/ranker-x/model.json", card_of("f" * 64).as_dict())
    words = r"experiments\.0\.arms\.1\.model: ranker-x reads the text encoder ffffffffffff, the night's model reads"
    with pytest.raises(ConfigError, match=words):
        encode_items(tried)


def test_a_model_is_read_by_the_encoder_that_lies_beside_it(run: Run, tmp_path: Path) -> None:
    configured = encode_items(run).encoder_id
    encoder = tiny_encoder(tmp_path / "tuned", seed=2)
    run.storage.upload_folder(tmp_path / "tuned", f"models/ranker-x/{ENCODER_FOLDER}")
    encode_for(run, card_of(encoder.digest, base_encoder_id=configured))
    own, theirs = (read_text_vectors(run, each)[1] for each in (configured, encoder.digest))
    np.testing.assert_allclose(theirs, encoder.encode(IDS), atol=1e-6)
    assert np.abs(own - theirs).max() > 0.01

    # vectors that were laid out are not made again
    path = Path(run.storage.path(run.text_vectors_path(encoder.digest)))
    before = path.stat().st_mtime_ns
    encode_for(run, card_of(encoder.digest, base_encoder_id=configured))
    encode_for(run, card_of(configured))
    assert path.stat().st_mtime_ns == before
