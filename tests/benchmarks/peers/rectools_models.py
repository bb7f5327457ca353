"""RecTools: popularity and SASRec. Its EASE is in `recency_models.py`."""

import warnings
from datetime import timedelta
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from case_files import Recommend, Task, main, top_from_frame
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import PopularModel, SASRecModel
from rectools.models.base import ModelBase

#: Sizes of our ranker. Training stops when the validation loss has not fallen for `PATIENCE` epochs.
SASREC = {"n_factors": 128, "n_blocks": 2, "n_heads": 4, "session_max_len": 50, "loss": "softmax", "batch_size": 128}
MAX_EPOCHS, PATIENCE = 60, 4
VALIDATION_USERS = 1000


def dataset_of(task: Task) -> Dataset:
    """A dataset of all events with weight 1."""
    frame = task.frame()
    frame[Columns.Weight] = 1.0
    return Dataset.construct(frame)


def popularity(task: Task) -> Recommend:
    """Popularity: users of each item in the last days, or in all days if the split says so."""
    period = task.popularity_days and timedelta(days=task.popularity_days)
    return fitted(PopularModel(popularity="n_users", period=period), task)


def sasrec(task: Task) -> Recommend:
    """SASRec (Kang & McAuley, ICDM 2018) with full softmax, stopped early on the last item of some users."""
    seed_everything(task.seed, verbose=False)
    with TemporaryDirectory() as folder:

        def trainer() -> Trainer:
            return Trainer(
                max_epochs=1 if task.quick else MAX_EPOCHS,
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[
                    EarlyStopping(monitor=SASRecModel.val_loss_name, patience=PATIENCE),
                    ModelCheckpoint(monitor=SASRecModel.val_loss_name, dirpath=folder),
                ],
            )

        model = SASRecModel(
            **SASREC, get_val_mask_func=last_of_some, get_trainer_func=trainer, recommend_torch_device="cpu"
        )
        recommend = fitted(model, task)
        assert model.fit_trainer is not None
        model.load_weights_from_checkpoint(model.fit_trainer.checkpoint_callback.best_model_path)
    return recommend


def last_of_some(events: pd.DataFrame) -> np.ndarray:
    """Mask [E] of the newest event of `VALIDATION_USERS` random users."""
    users = pd.Series(events[Columns.User].unique()).sample(frac=1, random_state=0)[:VALIDATION_USERS]
    newest = events.sort_values(Columns.Datetime, kind="stable").drop_duplicates(Columns.User, keep="last")
    newest = newest[newest[Columns.User].isin(users)]
    return events.index.isin(newest.index)


def fitted(model: ModelBase, task: Task) -> Recommend:
    """Fit a model. Users that it cannot serve get no list."""
    dataset = dataset_of(task)
    model.fit(dataset)

    def recommend(exclude_seen: bool) -> np.ndarray:
        users = np.arange(task.num_users)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = model.recommend(
                users, dataset, k=task.top_k, filter_viewed=exclude_seen, on_unsupported_targets="ignore"
            )
        return top_from_frame(frame, task.num_users, task.top_k)

    return recommend


if __name__ == "__main__":
    torch.set_num_threads(2)
    main({"popularity": popularity, "sasrec": sasrec})
