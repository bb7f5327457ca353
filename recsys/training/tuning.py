"""The section `tune` of the config: which settings are tried, and how the trials are drawn."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from recsys.config.section import Positive, Section

Value = bool | int | float | str | None

#: Sections whose keys only matter from the training on. Trials share the stages before it.
TUNABLE = ("train", "ranker", "transitions", "ease")
#: Keys of these sections that decide which users a trial is measured on, or what else is trained.
_FIXED = ("train.validation_users", "train.max_events_per_user", "train.warm_start", "train.budget", "train.refit")


class Between(Section):
    """A range of numbers that values are drawn from."""

    low: float
    """Least value."""
    high: float
    """Largest value."""
    log: bool = False
    """Whether the logarithm is drawn evenly: for values of which only the ratio matters, such as learning rates."""

    @model_validator(mode="after")
    def _in_order(self) -> "Between":
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low={self.low} must be below high={self.high}, and above 0 with log")
        return self


Space = dict[str, Between | Annotated[list[Value], Field(min_length=1)]]

#: Tried where the config names no space.
DEFAULT_SPACE: dict[str, Any] = {
    "train.learning_rate": {"low": 3e-4, "high": 3e-3, "log": True},
    "ranker.dropout": [0.1, 0.2, 0.3, 0.4],
    "ranker.id_dropout": [0.1, 0.2, 0.4],
    "ranker.layers": [1, 2, 3],
}


class TuneConfig(Section):
    """What `jobs/tune.py` tries."""

    trials: Positive = 8
    """Trials. The first one has the settings of the config as they are."""
    concurrent: Positive = 1
    """Trials at the same time. Each takes the CPUs or GPUs of a training."""
    space: Space = Field(
        default_factory=lambda: {key: _choice(value) for key, value in DEFAULT_SPACE.items()},
        json_schema_extra={"default": DEFAULT_SPACE},
    )
    """For each key of `train`, `ranker`, `transitions` or `ease` that is tried: a list of values, or a range
    `{low, high, log}`."""

    @field_validator("space")
    @classmethod
    def _keys_can_be_tried(cls, space: Space) -> Space:
        for key in space:
            section, _, name = key.partition(".")
            if section not in TUNABLE or not name or key in _FIXED:
                raise ValueError(
                    f"{key} cannot be tried: name keys of {', '.join(TUNABLE)}, such as train.learning_rate, and none "
                    f"of {', '.join(_FIXED)}"
                )
        return space


def _choice(value: Any) -> Between | list[Value]:
    return Between(**value) if isinstance(value, dict) else value


def draw_trials(space: Space, num: int, seed: int) -> list[dict[str, Value]]:
    """Overrides of `num` trials: the first has none, the others are drawn from the space.

    The same seed gives the same trials. A space of few values has fewer of them than were asked for: none comes twice.
    """
    random = np.random.default_rng(seed)
    trials: list[dict[str, Value]] = [{}]
    for _ in range(100 * num):
        if len(trials) == num:
            break
        drawn = {key: _draw(random, space[key]) for key in sorted(space)}
        if drawn and drawn not in trials:
            trials.append(drawn)
    return trials


def _draw(random: np.random.Generator, choice: Between | Sequence[Value]) -> Value:
    if not isinstance(choice, Between):
        return choice[int(random.integers(len(choice)))]
    if choice.log:
        value = float(np.exp(random.uniform(np.log(choice.low), np.log(choice.high))))
    else:
        value = float(random.uniform(choice.low, choice.high))
    return float(f"{value:.4g}")  # few digits, so that the best config can be read


def with_overrides(settings: Mapping[str, Any], overrides: Mapping[str, Value]) -> dict[str, Any]:
    """Plain settings with other values for some keys such as `train.learning_rate`."""
    found = {name: dict(part) if isinstance(part, Mapping) else part for name, part in settings.items()}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        found[section] = {**(found.get(section) or {}), name: value}
    return found
