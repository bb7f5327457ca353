"""The figures of a job as metrics of Ray, which Prometheus reads at Ray's endpoint; Ray puts `ray_` before the names.

They come from the records of `recsys.pipeline.stage_progress`, as what people see does.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ray.util import metrics

from recsys.evaluation.night_metrics import INPUTS, quarantine_rate
from recsys.pipeline.stage_progress import PROGRESS, StageEnds, StepProgress
from recsys.pipeline.workers.worker_logs import OURS

#: Stages with the verdict of a gate.
_GATES = ("gate", "check")


class JobMetrics(logging.Handler):
    """Sets gauges from log records."""

    def __init__(self) -> None:
        super().__init__(PROGRESS)
        stage = ("stage",)
        self._seconds = metrics.Gauge("recsys_stage_seconds", "Duration of the finished stage.", stage)
        self._rows = metrics.Gauge("recsys_stage_rows", "Rows of the finished stage.", stage)
        self._memory = metrics.Gauge("recsys_stage_peak_memory_bytes", "Largest memory of one process.", stage)
        self._share = metrics.Gauge("recsys_step_share", "Share of the running step that is done, 0 to 1.", ("step",))
        self._loss = metrics.Gauge("recsys_training_loss", "Mean loss of the running epoch.", ("step",))
        self._ndcg = metrics.Gauge("recsys_training_validation_ndcg", "NDCG@10 after the last epoch.", ("step",))
        self._quarantine = metrics.Gauge(
            "recsys_quarantine_rate", "Share of the rows of an input that are bad.", ("input",)
        )
        self._refused = metrics.Gauge(
            "recsys_gate_refused", "1: the gate refused the night; 0: it did not.", ("stage",)
        )
        self._published = metrics.Gauge("recsys_published_time_seconds", "When the night was published (Unix time).")

    def emit(self, record: logging.LogRecord) -> None:
        """Set the gauges of a stage that ended, or of the progress."""
        told = getattr(record, "told", None)
        if isinstance(told, StepProgress):
            self._set_progress(told)
        elif isinstance(told, StageEnds):
            self._set_stage(told)

    def _set_progress(self, told: StepProgress) -> None:
        step = {"step": told.step}
        self._share.set(told.share, step)
        if told.loss is not None:
            self._loss.set(told.loss, step)
        if told.validation_ndcg is not None:
            self._ndcg.set(told.validation_ndcg, step)

    def _set_stage(self, told: StageEnds) -> None:
        stage = {"stage": told.stage}
        self._seconds.set(told.seconds, stage)
        self._rows.set(told.rows, stage)
        self._memory.set(told.peak_memory_mb * 2**20, stage)
        figures = told.figures
        if told.stage in INPUTS:
            self._quarantine.set(quarantine_rate({**figures, "rows": told.rows}), {"input": INPUTS[told.stage]})
        elif told.stage in _GATES:
            self._refused.set(float(figures.get("verdict") == "refused"), stage)
        elif told.stage == "publish" and not told.before:
            self._published.set(time.time())


@contextmanager
def job_metrics() -> Iterator[None]:
    """Export the figures of the job while the block runs; Ray must be started."""
    handler = JobMetrics()
    logger = logging.getLogger(OURS)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
