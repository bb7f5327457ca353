"""Where a training keeps the checkpoints of its epochs: in Ray Train, or in the storage if one task trains."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import ray.train

from recsys.storage.filesystem import Storage

METRICS_FILE = "metrics.json"


class Checkpoint(NamedTuple):
    """The folder of an epoch's checkpoint, and the epoch's metrics; `score` and `epoch` are among them."""

    folder: AbstractContextManager[Path | str]
    metrics: dict[str, Any]


class CheckpointStore(Protocol):
    """The checkpoints of one training."""

    def last(self) -> AbstractContextManager[Path | str] | None:
        """Folder of the checkpoint to continue from; None: the training starts."""

    def best(self) -> Checkpoint:
        """The checkpoint with the highest score."""

    def add(self, folder: Path, metrics: dict[str, Any]) -> None:
        """Keep a copy of the files of a folder, as the newest checkpoint. Every worker calls this."""


class RayTrainStore:
    """Checkpoints that Ray Train collects from its workers."""

    def last(self) -> AbstractContextManager[Path | str] | None:
        """See `CheckpointStore`."""
        checkpoint = ray.train.get_checkpoint()
        return None if checkpoint is None else checkpoint.as_directory()

    def best(self) -> Checkpoint:
        """See `CheckpointStore`."""
        found = max(ray.train.get_all_reported_checkpoints(), key=lambda reported: reported.metrics["score"])
        return Checkpoint(found.checkpoint.as_directory(), found.metrics)

    def add(self, folder: Path, metrics: dict[str, Any]) -> None:
        """See `CheckpointStore`; Ray Train uploads the files."""
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


@dataclass(frozen=True)
class StoredCheckpoints:
    """Checkpoints of a training in one process: a folder for each epoch, of which the newest and the best are kept."""

    storage: Storage
    path: str
    """Folder of the training."""

    def last(self) -> AbstractContextManager[Path | str] | None:
        """See `CheckpointStore`."""
        names = self._names()
        return self._folder(names[-1]) if names else None

    def best(self) -> Checkpoint:
        """See `CheckpointStore`."""
        name = self._best(self._names())
        return Checkpoint(self._folder(name), self._metrics(name))

    def last_metrics(self) -> dict[str, Any]:
        """Metrics of the newest checkpoint."""
        return self._metrics(self._names()[-1])

    def add(self, folder: Path, metrics: dict[str, Any]) -> None:
        """See `CheckpointStore`."""
        name = f"epoch-{metrics['epoch']:05d}"
        self.storage.upload_folder(folder, f"{self.path}/{name}")
        self.storage.write_json(f"{self.path}/{name}/{METRICS_FILE}", metrics)  # last: the checkpoint is complete
        names = self._names()
        for old in set(names) - {names[-1], self._best(names)}:
            self.storage.delete_folder(f"{self.path}/{old}")

    def _names(self) -> list[str]:
        """Complete checkpoints, in the order of their epochs."""
        files = self.storage.list(self.path, recursive=True)
        return sorted(name.split("/")[0] for name in files if name.endswith(f"/{METRICS_FILE}"))

    def _metrics(self, name: str) -> dict[str, Any]:
        metrics: dict[str, Any] = self.storage.read_json(f"{self.path}/{name}/{METRICS_FILE}")
        return metrics

    def _best(self, names: list[str]) -> str:
        """The first of those with the highest score."""
        scores = {name: self._metrics(name)["score"] for name in names}
        return max(names, key=scores.__getitem__)

    def _folder(self, name: str) -> AbstractContextManager[Path | str]:
        return self.storage.local_folder(f"{self.path}/{name}")
