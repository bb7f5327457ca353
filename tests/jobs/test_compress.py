"""`jobs/compress.py` over a finished night: its variants, what is kept, and a night that could read one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.compress import advised, with_full_encoder
from recsys.errors import InputError
from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.encoders.encode_texts import encode_items, open_encoder
from recsys.pipeline.encoders.settle_encoder import settle_encoder, with_encoder
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder
from tests.jobs.conftest import RunJob, WriteConfig

KINDS = "there are full, vocabulary, and layers-N such as layers-3, each also with +onnx or +int8"
SPEC = {"steps": 6, "batch_size": 8, "checks": 2, "layers": [1]}


def stored_files(storage: Path) -> set[str]:
    return {path.relative_to(storage).as_posix() for path in storage.rglob("*") if path.is_file()}


def test_variants_are_made_once_measured_and_readable(
    write_config: WriteConfig, run_job: RunJob, night_before: dict[str, Any], tmp_path: Path
) -> None:
    warehouse, path = tmp_path / "warehouse", write_config(compress=SPEC)
    before = stored_files(warehouse)
    names = ("vocabulary", "layers-1", "layers-1+int8")
    code, answer = run_job("compress", "--config", path, "--variants", *names)
    assert (code, answer["status"], answer["run_id"]) == (0, "compressed", night_before["run_id"]), answer
    full, vocabulary, student, int8 = answer["variants"]
    assert [row["variant"] for row in answer["variants"]] == ["full", *names]
    assert answer["encoder"] in [row["encoder"] for row in answer["variants"]]
    assert (full["size"], full["speed"], full["difference"], student["layers"]) == (1.0, 1.0, 0.0, [0])
    assert 0 < vocabulary["size"] <= 1
    # the same tokens, so the same vectors, but in the arithmetic of a pretrained encoder
    assert vocabulary["ndcg"] == pytest.approx(full["ndcg"], abs=0.01)
    assert vocabulary["users"] > 100
    assert vocabulary["agreement"] > 0.9999
    assert student["agreement"] > 0.99
    model = vocabulary["encoder"]["model"]
    assert int8["encoder"] == {"model": student["encoder"]["model"], "engine": "onnx", "quantization": "int8"}
    assert int8["agreement"] > 0.9
    new = stored_files(warehouse) - before
    kept = ("models/compressed-encoders/", f"runs/{answer['run_id']}/compressed/", "locks/")
    others = {name for name in new if not name.startswith(kept)}
    assert {name.split("/")[0] for name in others} == {"models"}, "work is deleted"
    assert all(name.split("/")[1].endswith("-onnx") for name in others), "the export stays, for a night that reads it"

    code, again = run_job("compress", "--config", path, "--variants", *names)
    assert code == 0
    assert not any(row.pop("made_now") for row in again["variants"])
    assert again["variants"] == [{key: row[key] for key in row if key != "made_now"} for row in answer["variants"]]

    # a night whose config names it reads it from the storage, on every machine
    night = stored_run(RunFolder(Storage(str(warehouse)), answer["run_id"]))
    encoder = night.config.encoder.model_copy(update={"model": model, "precision": "fp32"})
    smaller = replace(night, config=night.config.model_copy(update={"encoder": encoder}))
    settled = settle_encoder(smaller)
    assert (settled.model, settled.revision) == (model, None)
    assert with_full_encoder(smaller).config.encoder.model == night.config.encoder.model, "it can be compressed again"
    record = encode_items(with_encoder(smaller, settled))
    assert record.encoder_id != night.encoder_id
    vectors, whole = (read_text_vectors(night, each)[1] for each in (record.encoder_id, night.encoder_id))
    np.testing.assert_allclose(vectors, whole, atol=1e-6)
    with open_encoder(night.storage, smaller.config, record.encoder_id, None) as opened:
        assert isinstance(opened, TextEncoder)
        assert opened.encode(["an unknown ☃ word"]).shape == (1, opened.dim)

    damaged = warehouse / "models/compressed-encoders" / model.removeprefix("compressed://") / "config.json"
    damaged.write_text("{}")
    with pytest.raises(InputError, match=r"config\.json is not the file that was written"):
        encode_items(smaller)
    code, refused = run_job("nightly", "--config", path, "--set", f"encoder.model={model}-gone")
    assert code == 2
    assert f"(there: {student['encoder']['model']}, {model})" in refused["error"]


def test_nothing_is_advised_that_nobody_could_measure() -> None:
    full: dict[str, Any] = {"variant": "full", "speed": 1.0, "bytes": 9, "ndcg": None, "ndcg_full": None}
    small = full | {"variant": "layers-1", "speed": 5.0}
    assert advised([full, small], max_loss=0.03) is full  # no user has a last item to find
    measured = [row | {"ndcg": 0.1, "ndcg_full": 0.1} for row in (full, small)]
    assert advised(measured, max_loss=0.03) is measured[1]


def test_what_is_asked_wrongly_is_said(write_config: WriteConfig, run_job: RunJob, tmp_path: Path) -> None:
    code, answer = run_job("compress", "--config", write_config(), "--variants", "tiny")
    assert (code, answer["error"]) == (2, f"--variants tiny: {KINDS}")
    code, answer = run_job("compress", "--config", write_config())
    assert code == 3
    assert "run jobs/nightly.py" in answer["error"]
