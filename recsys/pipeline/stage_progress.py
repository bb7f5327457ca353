"""How far a run has come, as values in log records. The part that shows the log decides how to show them.

A record of this kind has the attribute `told`, which is one of the classes below. Its message says the same in words.
"""

import logging
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT

#: Level of records that only say how far something has come: there may be many of them.
PROGRESS = 15
logging.addLevelName(PROGRESS, "PROGRESS")


@dataclass(frozen=True, kw_only=True)
class StageBegins:
    """A stage of the run begins."""

    stage: str


@dataclass(frozen=True, kw_only=True)
class StepProgress:
    """How far a step of the running stage has come; a stage has one step or several."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    step: str
    """Name of the step for people."""
    share: float
    """Share that is done, 0 to 1."""
    seconds: float
    """Since the step began."""
    place: str
    """In words: `3 of 10 parts`, `epoch 3 of at most 12`."""
    share_before: float = 0.0
    """Share that an earlier start had done; its time is not in `seconds`."""
    rows_per_s: float | None = None
    """Rows per second (windows in a training); None: not counted."""
    loss: float | None = None
    """Mean loss of the epoch so far."""
    validation_ndcg: float | None = None
    """NDCG@10 on validation users after the last finished epoch."""

    @property
    def seconds_left(self) -> float | None:
        """As long as the rest takes at the speed so far; None where nothing is done yet."""
        done = self.share - self.share_before
        return self.seconds * (1 - self.share) / done if done > 0 else None

    def figures(self) -> str:
        """Speed, loss and quality in words, each where it is known."""
        known = {
            "{:,.0f} rows/s": self.rows_per_s,
            "loss {:.4f}": self.loss,
            "validation ndcg@10 {:.4f}": self.validation_ndcg,
        }
        return ", ".join(words.format(value) for words, value in known.items() if value is not None)

    def __str__(self) -> str:
        left = self.seconds_left
        parts = [self.place, self.figures(), "" if left is None else f"about {duration(left)} left"]
        return f"{self.step}: {', '.join(filter(None, parts))}"


@dataclass(frozen=True, kw_only=True)
class StageEnds:
    """A stage is finished, now or by an earlier start of the run."""

    stage: str
    seconds: float
    rows: int
    rows_per_s: float
    peak_memory_mb: float
    figures: dict[str, Any] = field(default_factory=dict)
    """Further counts of the stage by name, without those that are 0."""
    before: bool = False
    """Whether an earlier start of the run finished it."""

    def words(self) -> str:
        """The further counts, in words."""
        said = [
            f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in self.figures.items()
        ]
        return ", ".join([*(["done before"] if self.before else []), *said])

    def __str__(self) -> str:
        return ", ".join(filter(None, [f"{self.stage}: {self.seconds:.1f} s", f"rows {self.rows:,}", self.words()]))


Told = StageBegins | StepProgress | StageEnds


def tell(logger: logging.Logger, told: Told) -> None:
    """Log it: the end of a stage as information, all else as progress."""
    if isinstance(told, StageBegins):
        logger.log(PROGRESS, "%s begins", told.stage, extra={"told": told})
    else:
        level = logging.INFO if isinstance(told, StageEnds) else PROGRESS
        logger.log(level, "%s", told, extra={"told": told})


def duration(seconds: float) -> str:
    """A duration for people: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
