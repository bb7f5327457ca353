"""The few figures of a night that the index shows. They are stored, so that no other night is read again."""

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recsys.report.recorded import Recorded, entries, number, part, text, total
from recsys.schema import ALL_USERS
from recsys.storage.night_dates import is_after_tomorrow

#: Stages that read an input, with quarantine.
READING = ("ingest", "catalog", "users")
#: The stage that puts users into quarantine.
WRITES_LISTS = "recommend"
#: Verdict of a night that no gate refused, but that failed before its lists were published.
UNPUBLISHED = "unpublished"
#: Nights of the index at most, the newest.
MOST_NIGHTS = 90
_RUN_ID = re.compile(r"\d{4}-\d{2}-\d{2}-[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class NightSummary:
    """A night in the index. What no stage recorded is None, or an empty text."""

    run_id: str
    run_date: str
    finished_at: str
    """Of the last stage; ISO 8601, UTC."""
    verdict: str
    """See `recsys.pipeline.measuring.gate_summary`, or `UNPUBLISHED`; empty: the night ended before a gate."""
    reason: str
    metric: str
    model: float | None
    """The metric of the new model on the held-out days; None where no user was held out."""
    model_low: float | None
    model_high: float | None
    published: float | None
    """That of the model of the night before, on the same users."""
    popularity: float | None
    users: float | None
    """Users with a list."""
    recommendations: float | None
    coverage: float | None
    overlap: float | None
    seconds: float | None
    """Of all stages together."""
    cpu_seconds: float | None
    rows: float | None
    """Rows read of all inputs."""
    quarantined: float | None
    trained: float | None
    """Epochs of the training; 0: the published model was used again."""

    @property
    def quarantine_share(self) -> float | None:
        """Quarantined rows of all rows."""
        return self.quarantined / self.rows if self.quarantined is not None and self.rows else None

    @property
    def is_of_the_future(self) -> bool:
        """Whether it was over more than a day before its date began: its year was mistyped, or the clock was wrong."""
        try:
            date, finished = (dt.date.fromisoformat(day[:10]) for day in (self.run_date, self.finished_at))
        except ValueError:  # no stage ended, or its record is damaged
            return False
        return is_after_tomorrow(date, finished)

    @property
    def page(self) -> str:
        """The night's page, relative to the index."""
        return f"nights/{self.run_id}.html"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def summarize(run_id: str, stages: Mapping[str, Recorded], gate: Recorded) -> NightSummary:
    """The summary of a night.

    Args:
        run_id: The run's name, which begins with its date.
        stages: Records of the stages; anything may be missing.
        gate: See `recsys.pipeline.measuring.gate_summary`.
    """
    segments = {text(each, "segment"): each for each in entries(stages, "gate", "segments")}
    everyone = segments.get(ALL_USERS, {})
    reading = [name for name in READING if name in stages]
    return NightSummary(
        run_id=run_id,
        run_date=run_id[:10],
        finished_at=max((text(stages, name, "finished_at") for name in stages), default=""),
        verdict=text(gate, "verdict"),
        reason=text(gate, "reason"),
        metric=text(gate, "metric"),
        model=number(gate, "model") if number(gate, "num_users") != 0 else None,
        model_low=number(everyone, "model", "low"),
        model_high=number(everyone, "model", "high"),
        published=number(gate, "baselines", "published", "mean"),
        popularity=number(gate, "baselines", "popularity", "mean"),
        users=number(stages, "check", "figures", "lists"),
        recommendations=number(stages, "recommend", "recommendations"),
        coverage=number(stages, "check", "figures", "coverage"),
        overlap=number(stages, "check", "overlap", "mean"),
        seconds=total([number(stages, name, "seconds") for name in stages]),
        cpu_seconds=total([number(stages, name, "cpu_seconds") for name in stages]),
        rows=total([number(stages, name, "rows") for name in reading]),
        quarantined=total([number(stages, name, "quarantined") for name in reading]),
        trained=number(stages, "finetune", "epochs"),
    )


def read_summary(stored: Any) -> NightSummary | None:
    """A stored summary; None if it is of no night. What this version does not know is left out."""
    run_id = text({"run": part(stored)}, "run", "run_id")
    if not _RUN_ID.fullmatch(run_id):
        return None
    fields = [field for field in dataclasses.fields(NightSummary) if field.name not in ("run_id", "run_date")]
    values = {
        field.name: text(stored, field.name) if field.type is str or field.type == "str" else number(stored, field.name)
        for field in fields
    }
    return NightSummary(run_id=run_id, run_date=run_id[:10], **values)  # type: ignore[arg-type]  # typed by the fields


def in_order(summaries: list[NightSummary]) -> list[NightSummary]:
    """The nights from the oldest to the newest; a repeated night follows the one that it repeats."""
    return sorted(summaries, key=lambda night: (night.run_date, night.finished_at, night.run_id))
