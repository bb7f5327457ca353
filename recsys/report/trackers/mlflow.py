"""MLflow: a run for each night in an experiment."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from recsys.report.trackers.config import MlflowConfig
from recsys.report.trackers.tracker import TrackedNight, Tracker, plain_name

#: Limits of one request of MLflow.
_METRICS, _PARAMS, _PARAM_CHARS, _NAME_CHARS = 1000, 100, 6000, 250
_TAG = "recsys.run_id"

_T = TypeVar("_T")


class MlflowTracker(Tracker):
    """The server or store of a tracking URI."""

    name = "mlflow"

    def __init__(self, config: MlflowConfig) -> None:
        """Nothing is asked of the server yet."""
        self.config = config

    def log(self, night: TrackedNight) -> None:
        """Make a run with settings, curves, figures and tags; an earlier one of the same night is deleted."""
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        client = MlflowClient(tracking_uri=self.config.uri)
        found = client.get_experiment_by_name(self.config.experiment)
        experiment = found.experiment_id if found else client.create_experiment(self.config.experiment)
        for earlier in client.search_runs([experiment], f"tags.`{_TAG}` = '{night.run_id}'"):
            client.delete_run(earlier.info.run_id)
        tags = {_TAG: night.run_id, "model_id": night.model_id, "report": night.report, "gates": night.verdict}
        run = client.create_run(experiment, run_name=night.run_id, tags=tags).info.run_id
        now = int(time.time() * 1000)
        points = [(name, step, value) for name, curve in night.curves.items() for step, value in curve]
        points += [(name, 0, value) for name, value in night.figures.items()]
        for some in _batches(points, _METRICS):
            client.log_batch(run, metrics=[Metric(_key(name), value, now, step) for name, step, value in some])
        settings = {_key(key): str(value)[:_PARAM_CHARS] for key, value in night.settings.items()}
        for params in _batches(list(settings.items()), _PARAMS):
            client.log_batch(run, params=[Param(key, value) for key, value in params])
        client.set_terminated(run)


def _key(name: str) -> str:
    """The name of a figure or setting as MLflow takes it: also as a path, it names itself.

    >>> _key("ingest/non_positive/a?//../b/")
    'ingest/non_positive/a_/b'
    """
    parts = (part for part in plain_name(name).split("/") if part.strip("."))
    return "/".join(parts)[:_NAME_CHARS].rstrip("/") or "_"


def _batches(values: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
