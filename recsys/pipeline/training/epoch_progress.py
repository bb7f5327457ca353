"""How far a training of the ranker has come, epoch by epoch."""

import time
from collections.abc import Callable

from recsys.pipeline.stage_progress import StepProgress
from recsys.pipeline.training.train_entry import Fit
from recsys.pipeline.training.training_progress import Tell
from recsys.training.phases import Phase
from recsys.training.progress import RETRIEVAL, Progress


class EpochProgress:
    """Tells it from the figures of the finished epochs, and from what is heard of the running one."""

    def __init__(self, fit: Fit, progress: Progress, tell: Tell) -> None:
        self._fit, self._progress, self._tell = fit, progress, tell
        self._start = time.monotonic()
        self._before = self._share(0.0)

    def listener(self, phase: Phase, num_windows: int) -> Callable[[int, float], None]:
        """Hears the epoch that begins, as `recsys.training.loop.Heard`; ``num_windows`` are those of this worker."""
        start = time.monotonic()
        number = len(self._progress.history) + 1
        place = f"epoch {number} of at most {self._fit.plan.epochs} ({phase})"
        workers = self._fit.run.config.train.num_workers

        def hear(windows: int, loss: float) -> None:
            speed = workers * windows / (time.monotonic() - start)
            self._say(place, self._share(min(windows / max(num_windows, 1), 1.0)), speed, loss)

        return hear

    def epoch_ended(self) -> None:
        """Tell the figures of the epoch that the history holds since now."""
        epoch = self._progress.history[-1]
        place = f"epoch {len(self._progress.history)} of at most {self._fit.plan.epochs} ({self._progress.phases[-1]})"
        self._say(place, self._share(0.0), epoch["windows_per_s"], epoch["loss"])

    def _share(self, of_epoch: float) -> float:
        return min((len(self._progress.history) + of_epoch) / self._fit.plan.epochs, 1.0)

    def _say(self, place: str, share: float, rows_per_s: float, loss: float) -> None:
        history = self._progress.history
        progress = StepProgress(
            step="refit" if self._fit.name == self._fit.run.refit_id else "finetune",
            share=share,
            seconds=time.monotonic() - self._start,
            place=place,
            share_before=self._before,
            rows_per_s=rows_per_s,
            loss=loss,
            validation_ndcg=history[-1].get(RETRIEVAL) if history else None,
        )
        self._tell(progress)
