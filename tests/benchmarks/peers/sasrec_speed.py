"""RecTools' SASRec: an epoch of `fit`, or `recommend` for all users, as `facts.json` says.

Only the epoch of `fit` is timed, not the construction of the model and the trainer.
"""

import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case_files import read_task
from pytorch_lightning import Callback, LightningModule, Trainer
from rectools.models import SASRecModel
from rectools_models import dataset_of
from stopwatch import THREADS, Work, compete


class Epoch(Callback):
    """Times an epoch."""

    seconds = 0.0

    def on_train_epoch_start(self, *of: Trainer | LightningModule) -> None:  # noqa: ARG002
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *of: Trainer | LightningModule) -> None:  # noqa: ARG002
        # on the class, since RecTools trains with a deep copy of the trainer
        Epoch.seconds = time.perf_counter() - self.started


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    facts = json.loads((folder / "facts.json").read_text())
    task = read_task(folder, seed=0, top_k=facts["top_k"], quick=False)
    dataset, users = dataset_of(task), np.arange(task.num_users)
    trainable = int((np.bincount(task.users) > 1).sum())

    def fit() -> SASRecModel:
        return model_of(facts).fit(dataset)

    def train(number: int) -> tuple[int, float]:
        fit()
        return trainable, Epoch.seconds

    if not facts["recommend"]:
        return train, {"sequences": trainable}
    model = fit()

    def recommend(number: int) -> int:
        lists = model.recommend(users, dataset, k=facts["top_k"], filter_viewed=True, on_unsupported_targets="ignore")
        assert len(lists)
        return len(users)

    return recommend, {"users": len(users)}


def model_of(facts: dict[str, Any]) -> SASRecModel:
    """A model with the sizes of our ranker, to train for one epoch."""
    return SASRecModel(
        n_factors=facts["hidden_size"],
        n_blocks=facts["layers"],
        n_heads=facts["heads"],
        session_max_len=facts["length"],
        batch_size=facts["batch_size"],
        loss="softmax",
        recommend_torch_device="cpu",
        recommend_n_threads=THREADS,
        get_trainer_func=one_epoch,
    )


def one_epoch() -> Trainer:
    return Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Epoch()],
    )


if __name__ == "__main__":
    compete(prepare)
