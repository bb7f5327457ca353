"""Progress as values: the time that is left, and the words."""

import pytest

from recsys.pipeline.stage_progress import StageEnds, StepProgress, duration


def progress(share: float, **values: float) -> StepProgress:
    return StepProgress(step="ingest", share=share, seconds=30.0, place="3 of 10 parts", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "before", "left"),
    [(0.0, 0.0, None), (0.25, 0.0, 90.0), (1.0, 0.0, 0.0), (0.75, 0.5, 30.0), (0.5, 0.5, None)],
)
def test_the_rest_takes_as_long_as_the_speed_of_this_start_says(
    share: float, before: float, left: float | None
) -> None:
    assert progress(share, share_before=before).seconds_left == left


def test_only_what_is_known_is_said() -> None:
    assert str(progress(0.0)) == "ingest: 3 of 10 parts"
    told = progress(0.25, rows_per_s=1234.5, loss=3.5, validation_ndcg=0.25)
    figures = "1,234 rows/s, loss 3.5000, validation ndcg@10 0.2500"
    assert str(told) == f"ingest: 3 of 10 parts, {figures}, about 1 min 30 s left"


def test_a_finished_stage_says_its_figures() -> None:
    timing = {"seconds": 1.25, "rows": 1000, "rows_per_s": 800.0, "peak_memory_mb": 99.5}
    ended = StageEnds(stage="gate", **timing, figures={"users": 1200, "loss": 0.25, "verdict": "passed"}, before=True)  # type: ignore[arg-type]
    assert str(ended) == "gate: 1.2 s, rows 1,000, done before, users 1,200, loss 0.25, verdict passed"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7200, "2 h"), (7500, "2 h 5 min")],
)
def test_durations_are_for_people(seconds: float, words: str) -> None:
    assert duration(seconds) == words
