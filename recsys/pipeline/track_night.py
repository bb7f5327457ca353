"""Hand a night to the trackers: TensorBoard files always, and those that `tracking` names."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recsys.errors import is_defect, one_line
from recsys.pipeline.measuring.gate_summary import gate_summary
from recsys.pipeline.publishing.publish_lists import stage_metrics
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE, FIT_FUSION, LEARN_BASKETS, REFIT
from recsys.report.trackers.mlflow import MlflowTracker
from recsys.report.trackers.tensorboard import TensorboardFiles
from recsys.report.trackers.tracker import TrackedNight, Tracker, flat
from recsys.report.trackers.wandb import WandbTracker

logger = logging.getLogger(__name__)

#: Names of what numbers the points of a curve.
_STEPS = ("epoch", "step")
#: Fields of the stages' records that are no figures of a model or its lists.
_NO_FIGURES = ("rows", "rows_per_s")


def track_night(run: Run) -> dict[str, str]:
    """Give the night to each tracker; nothing happens before a model is fitted.

    A tracker that fails never changes the outcome of the night: the log says why.

    Returns:
        For the answer of the job: `tracking_error`, if one failed.
    """
    if run.done(FIT_FUSION) is None:
        return {}
    errors = {}
    try:
        night = tracked_night(run)
    except Exception as error:
        why = _why(error, "")
        logger.warning("tracking: the figures of the night cannot be gathered: %s", why, exc_info=is_defect(error))
        return {"tracking_error": why}
    for name, log in _trackers(run):
        try:
            log(night)
        except Exception as error:
            errors[name] = _why(error, name)
            logger.warning("tracking: %s did not get the night: %s", name, errors[name], exc_info=is_defect(error))
    return {"tracking_error": "; ".join(f"{name}: {why}" for name, why in errors.items())} if errors else {}


def tensorboard_dir(run: Run) -> str:
    """The night's TensorBoard files, below the storage root."""
    return f"{run.folder.dir}/tensorboard"


def tracked_night(run: Run) -> TrackedNight:
    """Settings, curves and figures of a night, from the records of its stages."""
    metrics = stage_metrics(run)
    gates = gate_summary(run)
    figures = {f"{stage}/{name}": value for stage, record in metrics.items() for name, value in _numbers(record)}
    if gates and gates["num_users"]:
        figures |= {f"gate/{gates['metric']}": float(gates["model"])}
        for rival, compared in gates["baselines"].items():
            figures[f"gate/{gates['metric']} of {rival}"] = float(compared["mean"])
    return TrackedNight(
        run_id=run.folder.run_id,
        model_id=run.published_id if run.done(REFIT) is not None else run.model_id,
        report=run.storage.url(run.folder.report_path),
        verdict=gates.get("verdict", ""),
        settings=flat(run.config.model_dump(mode="json")),
        curves=_curves(metrics),
        figures=figures,
    )


def _curves(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """The history of each stage that trains, by epoch or step."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for stage in (LEARN_BASKETS.name, FINETUNE.name):
        for place, entry in enumerate(metrics.get(stage, {}).get("history", []), 1):
            step = int(next((entry[name] for name in _STEPS if name in entry), place))
            for name, value in entry.items():
                if name not in _STEPS:
                    curves.setdefault(f"{stage}/{name}", []).append((step, float(value)))
    return curves


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name not in _NO_FIGURES:
            yield f"{prefix}{name}", float(value)


def _trackers(run: Run) -> Iterator[tuple[str, Any]]:
    """Name and function of each tracker of the config."""
    yield TensorboardFiles.name, lambda night: _write_tensorboard(run, night)
    named: list[Tracker] = []
    if (mlflow := run.config.tracking.mlflow) is not None:
        named.append(MlflowTracker(mlflow))
    if (wandb := run.config.tracking.wandb) is not None:
        named.append(WandbTracker(wandb))
    yield from ((tracker.name, tracker.log) for tracker in named)


def _write_tensorboard(run: Run, night: TrackedNight) -> None:
    """Replace the TensorBoard files of the night."""
    with TemporaryDirectory() as folder:
        TensorboardFiles(Path(folder)).log(night)
        run.storage.delete_folder(tensorboard_dir(run))
        run.storage.upload_folder(folder, tensorboard_dir(run))


def _why(error: Exception, name: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return f"its library is missing: pip install 'recsys[{name}]'"
    return one_line(error)
