"""How a training of a text encoder says how many of its steps are done."""

import time
from collections.abc import Sequence

import torch

from recsys.pipeline.stage_progress import StepProgress
from recsys.pipeline.training.training_progress import Tell
from recsys.training.loop import PROGRESS_S
from recsys.training.progress import RETRIEVAL


class StepsTold:
    """Tells how many steps are done, every second."""

    def __init__(
        self,
        name: str,
        steps: int,
        rows_per_step: int,
        history: Sequence[dict[str, float]],
        tell: Tell,
    ) -> None:
        """Begin to count.

        Args:
            name: Of the training, for people.
            steps: All of them.
            rows_per_step: Rows of a step, of all workers together.
            history: Figures of the checks so far, with the `step` of each; checks that come later are appended.
            tell: Takes the progress.
        """
        self._name, self._steps, self._rows, self._history = name, steps, rows_per_step, history
        self._tell = tell
        self._start = self._told = time.monotonic()
        self._first = history[-1]["step"] if history else 0.0

    def step_done(self, steps: int, loss: torch.Tensor) -> None:
        """So many steps are done; the last one had this loss."""
        now = time.monotonic()
        if now - self._told < PROGRESS_S:
            return
        self._told = now
        seconds = now - self._start
        progress = StepProgress(
            step=self._name,
            share=steps / self._steps,
            seconds=seconds,
            place=f"step {steps} of {self._steps}",
            share_before=self._first / self._steps,
            rows_per_s=self._rows * (steps - self._first) / seconds,
            loss=float(loss),
            validation_ndcg=self._history[-1].get(RETRIEVAL) if self._history else None,
        )
        self._tell(progress)
