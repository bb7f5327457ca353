"""Weights & Biases: a run for each night in a project."""

import os
from collections.abc import Mapping, Sequence

from recsys.report.trackers.config import WandbConfig
from recsys.report.trackers.tracker import TrackedNight, Tracker

_QUIET = {"WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true", "WANDB_DISABLE_CODE": "true"}


class WandbTracker(Tracker):
    """A project of Weights & Biases, or offline files for it."""

    name = "wandb"

    def __init__(self, config: WandbConfig) -> None:
        """Nothing is asked of the network yet."""
        self.config = config

    def log(self, night: TrackedNight) -> None:
        """Make a run, or go on with that of the same night."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import wandb

        run = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            id=night.run_id,
            name=night.run_id,
            resume=None if self.config.offline else "allow",
            mode="offline" if self.config.offline else "online",
            dir=self.config.folder,
            config=dict(night.settings),
            settings=wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True),
        )
        try:
            run.define_metric("step")
            for name in night.curves:
                run.define_metric(name, step_metric="step")
            for step, values in _by_step(night.curves).items():
                run.log({"step": step, **values})
            run.summary.update(dict(night.figures))
            run.summary.update({"model_id": night.model_id, "report": night.report, "gates": night.verdict})
            run.finish()
        finally:
            wandb.teardown()  # waits until its process has written all, and ends it


def _by_step(curves: Mapping[str, Sequence[tuple[int, float]]]) -> dict[int, dict[str, float]]:
    """The values of all curves at each step."""
    found: dict[int, dict[str, float]] = {}
    for name, points in curves.items():
        for step, value in points:
            found.setdefault(step, {})[name] = value
    return dict(sorted(found.items()))
