"""The training of a smaller encoder that was killed continues, and comes to the same weights."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch

from recsys.model.checkpoint import ENCODER_FOLDER
from recsys.model.config import ScratchEncoderConfig
from recsys.model.prune_encoder import write_pruned
from recsys.pipeline.encoders.distill_entry import DistillFit
from recsys.pipeline.encoders.distill_worker import AGREEMENT, learn
from recsys.pipeline.encoders.lessons import read_lessons
from recsys.pipeline.run import Run
from recsys.pipeline.training.checkpoint_store import StoredCheckpoints
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table
from recsys.training.pretrain import pretrain_encoder

TEXTS = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("lamp", "vase", "desk", "rug")] * 2
SETTINGS: dict[str, Any] = {
    "inputs": {"events": {"path": "e"}, "items": {"path": "i", "text": "{title}"}},
    "encoder": {"max_tokens": 16},
    "train": {"precision": "fp32", "warmup": 0.0},
    "compress": {"steps": 6, "checks": 3, "batch_size": 8, "learning_rate": 0.003},
}


class KilledError(Exception):
    """The worker is gone."""


class KilledStore(StoredCheckpoints):
    """Keeps some checkpoints, then the worker is killed."""

    def add(self, folder: Path, metrics: dict[str, Any]) -> None:
        if metrics["epoch"] == 3:
            raise KilledError
        super().add(folder, metrics)


@pytest.fixture
def fit(tmp_path: Path) -> DistillFit:
    """A student of one layer, and the vectors of its teacher of two."""
    storage = Storage(str(tmp_path / "warehouse"))
    config = ScratchEncoderConfig(hidden_size=16, layers=2, heads=2, vocab_size=320, pretrain_steps=4)
    teacher = pretrain_encoder(TEXTS, config, max_tokens=16, seed=0)
    write_pruned(teacher, tmp_path / "start", layers=[0])
    storage.upload_folder(tmp_path / "start", "work/start")
    held_out = np.arange(len(TEXTS)) < 4
    texts = pa.table({"text": TEXTS, "held_out": held_out})
    lists = pa.FixedSizeListArray.from_arrays(pa.array(teacher.encode(TEXTS).reshape(-1)), teacher.dim)
    for name, table in (("texts", texts), ("vectors", pa.table({"vector": lists}))):
        write_table(storage, f"work/lessons/{name}/part-00000.parquet", table, table.schema)
    run = Run(
        config=decode_config(SETTINGS), date=dt.date(2026, 11, 22), folder=RunFolder(storage, "2026-11-22-0123456789ab")
    )
    return DistillFit(run=run, name="layers-1-x", start_path="work/start", lessons_path="work/lessons", threads=1)


def trained(fit: DistillFit, path: str) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """The checks, and the weights of the newest checkpoint."""
    store = StoredCheckpoints(fit.run.storage, path)
    last = store.last()
    assert last is not None
    with last as folder:
        weights = safetensors.torch.load_file(Path(folder) / ENCODER_FOLDER / "model.safetensors")
    return store.last_metrics()["history"], weights


def test_a_killed_training_continues(fit: DistillFit) -> None:
    storage = fit.run.storage
    assert read_lessons(storage, fit.lessons_path).held_out.sum() == 4
    learn(fit, 0, StoredCheckpoints(storage, "whole"))
    history, weights = trained(fit, "whole")
    assert [check["step"] for check in history] == [0, 2, 4, 6]
    assert history[-1]["loss"] < history[1]["loss"]
    assert all(-1 <= check[AGREEMENT] <= 1 for check in history)

    with pytest.raises(KilledError):
        learn(fit, 0, KilledStore(storage, "killed"))
    learn(fit, 0, StoredCheckpoints(storage, "killed"))
    again, same = trained(fit, "killed")
    assert again == history
    assert all(torch.equal(weights[name], same[name]) for name in weights)
