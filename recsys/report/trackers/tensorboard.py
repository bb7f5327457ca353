"""TensorBoard files of a night: `tensorboard --logdir warehouse/runs` shows all nights.

They are written by tensorboardX, which Ray brings: the package `tensorboard` itself is the viewer and weighs 100 times
as much.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from recsys.report.trackers.tracker import TrackedNight, Tracker, plain_name


class TensorboardFiles(Tracker):
    """Files in a folder of this machine."""

    name = "tensorboard"

    def __init__(self, folder: Path) -> None:
        """`folder` is empty."""
        self.folder = folder

    def log(self, night: TrackedNight) -> None:
        """Write the curves and figures as scalars, and the settings as text."""
        with SummaryWriter(str(self.folder)) as writer:
            for name, points in night.curves.items():
                for step, value in points:
                    writer.add_scalar(plain_name(name), value, step)
            for name, value in night.figures.items():
                writer.add_scalar(plain_name(f"night/{name}"), value, 0)
            about = {"run": night.run_id, "model": night.model_id, "report": night.report, "gates": night.verdict}
            writer.add_text("night", _as_code(about), 0)
            writer.add_text("settings", _as_code(night.settings), 0)


def _as_code(values: Mapping[str, object]) -> str:
    """Markdown code, indented: nothing of it is markup."""
    return "".join(f"    {line}\n" for line in json.dumps(dict(values), indent=2, ensure_ascii=True).splitlines())
