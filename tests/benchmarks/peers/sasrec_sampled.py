"""RecTools' SASRec with sampled softmax, with the settings of the paper on eSASRec (blondered/transformer_benchmark).

RecTools multiplies with the vectors of the negatives, also where a history is padded. Here the logits of the positions
that have a target come from one product with all items: the same numbers, in a fraction of the time.
Training can be stopped: the next start continues from the last finished epoch.
"""

from pathlib import Path
from typing import Any

import torch
from case_files import Recommend, Task, main
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from rectools.models import SASRecModel
from rectools.models.nn.transformers.lightning import TransformerLightningModule
from rectools.models.nn.transformers.similarity import DistanceSimilarityModule
from rectools_models import fitted, last_of_some

SASREC = {"n_factors": 256, "n_blocks": 1, "n_heads": 1, "dropout_rate": 0.2, "session_max_len": 50, "lr": 1e-3}
LOSS = {"loss": "sampled_softmax", "n_negatives": 256, "batch_size": 128}
MAX_EPOCHS, PATIENCE = 200, 50
VALIDATION_NDCG = "val_ndcg"


class LogitsOfTargets(DistanceSimilarityModule):
    """The logits of each position's target and negatives; 0 where there is no target, which the loss leaves out."""

    def _get_pos_neg_logits(
        self, session_embs: torch.Tensor, item_embs: torch.Tensor, candidate_item_ids: torch.Tensor
    ) -> torch.Tensor:
        has_target = candidate_item_ids[..., 0] != 0
        logits = session_embs.new_zeros(candidate_item_ids.shape)
        every = session_embs[has_target] @ item_embs.T
        logits[has_target] = every.gather(1, candidate_item_ids[has_target])
        return logits


class StoppedByNdcg(TransformerLightningModule):
    """Measures NDCG@10 of the validation users over all items, without those that they had."""

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """Log NDCG@10 of the one target of each user."""
        scores = self.torch_model.encode_sessions(batch, self.item_embs)[:, -1] @ self.item_embs.T
        target = batch["y"][:, :1]
        scores = scores.scatter(1, batch["x"], -torch.inf)
        scores[:, 0] = -torch.inf  # the padding
        wanted = scores.gather(1, target)  # −inf where the user had it before: no list would hold it
        place = (scores > wanted).sum(dim=1)
        ndcg = torch.where(place < 10, 1 / torch.log2(place + 2.0), 0.0)
        self.log(VALIDATION_NDCG, ndcg.mean(), on_step=False, on_epoch=True, batch_size=len(target))
        return {"loss": -ndcg.mean()}


class Resumed(Trainer):
    """Continues from the checkpoint of the last epoch, if there is one."""

    last: Path

    def fit(self, *args: Any, **named: Any) -> None:
        """As Lightning's."""
        super().fit(*args, **named, ckpt_path=self.last if self.last.exists() else None)


def sampled(task: Task) -> Recommend:
    """SASRec (Kang & McAuley, ICDM 2018) with sampled softmax, stopped early by NDCG@10 of some users' last item."""
    seed_everything(task.seed, verbose=False)
    folder = task.checkpoints
    folder.mkdir(parents=True, exist_ok=True)

    def trainer() -> Trainer:
        made = Resumed(
            max_epochs=1 if task.quick else MAX_EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[
                EarlyStopping(monitor=VALIDATION_NDCG, mode="max", patience=PATIENCE, verbose=True),
                ModelCheckpoint(
                    monitor=VALIDATION_NDCG, mode="max", dirpath=folder, save_last=True, enable_version_counter=False
                ),
            ],
        )
        made.last = folder / "last.ckpt"
        return made

    model = SASRecModel(
        **SASREC,
        **LOSS,
        similarity_module_type=LogitsOfTargets,
        lightning_module_type=StoppedByNdcg,
        get_val_mask_func=last_of_some,
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
    recommend = fitted(model, task)
    assert model.fit_trainer is not None
    best = model.fit_trainer.checkpoint_callback
    print(f"best validation {best.best_model_score:.4f} at {best.best_model_path}")  # noqa: T201
    model.load_weights_from_checkpoint(best.best_model_path)
    return recommend


if __name__ == "__main__":
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")  # products in bfloat16 where the CPU has them, as ours
    main({"sasrec-sampled": sampled})
