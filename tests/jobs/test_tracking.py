"""A finished night for trackers: its curves and figures, and trackers that fail."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.pipeline.open_run import stored_run
from recsys.pipeline.run import Run
from recsys.pipeline.track_night import track_night, tracked_night
from recsys.report.trackers.config import MlflowConfig, TrackingConfig
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder


@pytest.fixture
def run(night_before: dict[str, Any], tmp_path: Path) -> Run:
    return stored_run(RunFolder(Storage(str(tmp_path / "warehouse")), night_before["run_id"]))


def test_every_night_has_tensorboard_files(one_night: tuple[Path, dict[str, Any]]) -> None:
    storage, answer = one_night
    (file,) = (storage / "runs" / answer["run_id"] / "tensorboard").iterdir()
    assert file.name.startswith("events.out.tfevents.")
    assert "tracking_error" not in answer


def test_what_trackers_get(run: Run, night_before: dict[str, Any]) -> None:
    night = tracked_night(run)
    stages = json.loads(Path(run.storage.url(run.folder.metrics_path)).read_text())["stages"]
    assert [step for step, _ in night.curves["finetune/loss"]] == list(range(1, stages["finetune"]["epochs"] + 1))
    assert night.figures["fuse/validation_ndcg@10"] == stages["fuse"]["validation_ndcg@10"]
    assert night.figures["gate/ndcg@10"] > 0
    assert night.settings["train.epochs"] == run.config.train.epochs
    assert (night.model_id, night.report) == (night_before["model_id"], run.storage.url(run.folder.report_path))
    assert night.verdict == night_before["gate"]


def test_a_tracker_that_fails_is_named_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    before = sorted(path for path in (tmp_path / "warehouse").rglob("*") if "tensorboard" not in path.parts)
    tracking = TrackingConfig(mlflow=MlflowConfig(uri=f"file://{tmp_path}/mlruns"))  # which MLflow refuses by default
    failing = replace(run, config=run.config.model_copy(update={"tracking": tracking}))
    answer = track_night(failing)
    assert answer["tracking_error"].startswith("mlflow: MlflowException: ")
    assert sorted(path for path in (tmp_path / "warehouse").rglob("*") if "tensorboard" not in path.parts) == before
    assert len(list((tmp_path / "warehouse/runs" / run.folder.run_id / "tensorboard").iterdir())) == 1, "replaced"
