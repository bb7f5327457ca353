"""The figures of a job as metrics: what is set, from which records."""

import logging
from typing import Any, ClassVar

import pytest

from recsys.pipeline.stage_progress import StageEnds, StepProgress, tell
from recsys.pipeline.workers import job_metrics as module
from recsys.pipeline.workers.job_metrics import job_metrics

logger = logging.getLogger("recsys.test_job_metrics")


class Gauge:
    """Keeps the last values that are set; the real one needs a Ray, see tests/serving/test_service.py."""

    values: ClassVar[dict[tuple[str, str], float]] = {}

    def __init__(self, name: str, description: str, tags: tuple[str, ...] = ()) -> None:
        assert description.endswith(".")
        self.name, self.tags = name.removeprefix("recsys_"), tags

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        tags = tags or {}
        assert tuple(tags) == self.tags
        self.values[self.name, "".join(tags.values())] = value


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], float]:
    monkeypatch.setattr(module.metrics, "Gauge", Gauge)
    monkeypatch.setattr(Gauge, "values", {})
    monkeypatch.setattr("time.time", lambda: 1.8e9)
    return Gauge.values


def ends(stage: str, before: bool = False, **figures: Any) -> StageEnds:
    return StageEnds(
        stage=stage, seconds=2.0, rows=100, rows_per_s=50.0, peak_memory_mb=3.0, figures=figures, before=before
    )


def test_every_kind_of_record_sets_its_gauges(
    values: dict[tuple[str, str], float], caplog: pytest.LogCaptureFixture
) -> None:
    step = StepProgress(step="finetune", share=0.5, seconds=1.0, place="epoch 1", loss=4.0, validation_ndcg=0.25)
    records = [
        ends("ingest", quarantined=12, forgiven=2, filtered=50, feedback_rows=10),
        step,
        ends("gate", verdict="refused"),
        ends("check", verdict="passed"),
        ends("publish"),
    ]
    with caplog.at_level(logging.DEBUG, "recsys"), job_metrics():
        logger.info("a line without values")
        for record in records:
            tell(logger, record)
    tell(logger, ends("catalog"))  # after the job
    assert values["quarantine_rate", "events"] == 0.25
    assert (values["step_share", "finetune"], values["training_loss", "finetune"]) == (0.5, 4.0)
    assert values["training_validation_ndcg", "finetune"] == 0.25
    assert (values["gate_refused", "gate"], values["gate_refused", "check"]) == (1.0, 0.0)
    assert values["published_time_seconds", ""] == 1.8e9
    assert (values["stage_seconds", "gate"], values["stage_rows", "gate"]) == (2.0, 100)
    assert values["stage_peak_memory_bytes", "gate"] == 3 * 2**20
    assert ("stage_seconds", "catalog") not in values


def test_a_night_that_was_published_before_keeps_its_time(
    values: dict[tuple[str, str], float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "recsys"), job_metrics():
        tell(logger, ends("publish", before=True))
    assert not [name for name, _ in values if name == "published_time_seconds"]
