"""What all trainings of a text encoder give to their workers. It imports no torch, as `train_entry`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys.pipeline.run import Run
from recsys.pipeline.training.windows import Kind, Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFit:
    """One training of an encoder, whose subclass says how; see `recsys.pipeline.training.train_entry.Training`."""

    run: Run
    name: str
    """No other training of the run has it."""
    threads: int
    """Threads of a worker on CPUs."""
    windows: Mapping[Kind, Windows] = field(default_factory=dict)
    """None: workers read what they learn from themselves."""

    def fetches(self, kind: Kind) -> bool:  # noqa: ARG002
        """See `Training`."""
        return True

    @property
    def in_one_task(self) -> bool:
        """See `Training`."""
        return not self.run.config.train.uses_deepspeed

    @property
    def checkpoints_path(self) -> str:
        """See `Training`."""
        return f"{self.run.train_dir}/{self.name}"

    @property
    def progress_path(self) -> str:
        """See `Training`."""
        return f"{self.run.train_dir}/{self.name}-progress.json"
