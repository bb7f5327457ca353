"""Where a Ray Train worker begins. Ray's controller loads this file too, and need not wait for torch and the models."""

from typing import Any


def train_worker(settings: dict[str, Any]) -> None:
    """See `recsys.pipeline.train_worker`."""
    from recsys.pipeline.train_worker import train

    train(settings)
