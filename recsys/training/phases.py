"""Epochs, steps and learning rate of a training, computed from the settings and the number of windows.

A training is a sequence of phases. Each phase except the first starts from the best epoch so far, and its learning rate
falls along a cosine of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from recsys.training.config import TrainConfig

#: `softmax`: all windows; `recent`: only targets of the last days; `listwise`: all windows, and the candidate pass too;
#: `refit`: after the gate, with the held-out days; `new_events`: a model that is continued, only new targets and
#: replayed windows.
Phase = Literal["softmax", "recent", "listwise", "refit", "new_events"]

#: Maximum epochs that `train.min_steps` are divided into. With few windows an epoch is several passes over them: a
#: validation and a checkpoint after every few steps would take longer than the steps.
EPOCHS_OF_MIN_STEPS = 20
#: Learning rate at the start of a phase, as a share of the peak; the phase before ended near zero.
RATES: dict[Phase, float] = {"softmax": 1.0, "recent": 0.5, "listwise": 0.3, "refit": 0.5, "new_events": 0.2}
#: Minimum steps of the recent phase, of the refit and of new events, as a share of `train.min_steps`.
RECENT_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePlan:
    """One phase of a training."""

    name: Phase
    epochs: int
    """Validation and a checkpoint follow each epoch."""
    passes: int
    """Passes over the windows in an epoch."""
    first_step: int
    """Optimiser steps before the phase, if no phase before ended early."""
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The phases of a training; early stopping may end the first one sooner."""

    phases: tuple[PhasePlan, ...]
    warmup_steps: int
    """Optimiser steps at the start in which the learning rate rises."""

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase(self, name: Phase) -> PhasePlan:
        """The phase of this name."""
        return next(phase for phase in self.phases if phase.name == name)

    def rate(self, step: int) -> float:
        """Share of the peak learning rate at a step, counted from 0."""
        if step < self.warmup_steps:
            return RATES[self.phases[0].name] * (step + 1) / self.warmup_steps
        phase = [phase for phase in self.phases if phase.first_step <= step][-1]
        begun = max(phase.first_step, self.warmup_steps if phase is self.phases[0] else 0)
        length = phase.first_step + phase.steps - begun
        share = (step - begun) / max(length, 1)
        return RATES[phase.name] * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def warmup_and_cosine(warmup_steps: int, num_steps: int) -> Callable[[int], float]:
    """Share of the peak learning rate at each step, from 0: a rise, then a fall along a cosine."""
    steps = PhasePlan(name="softmax", epochs=1, passes=1, first_step=0, steps=num_steps)
    return Plan(phases=(steps,), warmup_steps=warmup_steps).rate


def plan_training(train: TrainConfig, num_windows: int, num_recent: int) -> Plan:
    """Phases with at least `train.min_steps` optimiser steps and `train.epochs` passes in the softmax phase.

    Args:
        train: Settings.
        num_windows: Training windows of all workers together.
        num_recent: Windows with a target of the last days; 0: no recent phase.
    """
    per_pass = _steps_per_pass(train, num_windows)
    passes = max(math.ceil(train.min_steps / EPOCHS_OF_MIN_STEPS / per_pass), 1)
    epochs = math.ceil(max(train.epochs, math.ceil(train.min_steps / per_pass)) / passes)
    wanted: list[tuple[Phase, int, int, int]] = [("softmax", epochs, passes, num_windows)]
    if num_recent >= train.num_workers:
        wanted.append(("recent", train.recent_epochs, _recent_passes(train, num_recent), num_recent))
    wanted.append(("listwise", train.listwise_epochs, passes, num_windows))
    phases = _phases(train, wanted)
    return Plan(phases=phases, warmup_steps=int(train.warmup * phases[0].steps))


def plan_refit(train: TrainConfig, num_recent: int) -> Plan:
    """The refit: a short continuation with as many steps as the recent phase has."""
    phases = _phases(train, [("refit", max(train.recent_epochs, 1), _recent_passes(train, num_recent), num_recent)])
    return Plan(phases=phases, warmup_steps=0)


def num_replayed(train: TrainConfig, num_new: int, share: float = 1.0) -> int:
    """Older windows that are trained with so many windows of new events.

    Args:
        train: Settings.
        num_new: Windows with new targets in this part of the users.
        share: The part.
    """
    if not num_new:
        return 0
    epochs = max(train.recent_epochs, 1)
    fill = math.ceil(share * RECENT_SHARE * train.min_steps / epochs * train.batch_size)
    return max(round(train.replay * num_new), fill - num_new)


def plan_new_events(train: TrainConfig, num_windows: int) -> Plan:
    """Phases of a training that continues a model: as many steps as the recent phase has, then the candidate pass.

    Args:
        train: Settings.
        num_windows: Windows with new targets, and those that are replayed.
    """
    passes = _recent_passes(train, num_windows)
    wanted: list[tuple[Phase, int, int, int]] = [("new_events", max(train.recent_epochs, 1), passes, num_windows)]
    phases = _phases(train, [*wanted, ("listwise", train.listwise_epochs, passes, num_windows)])
    return Plan(phases=phases, warmup_steps=int(train.warmup * phases[0].steps))


def _recent_passes(train: TrainConfig, num_recent: int) -> int:
    steps = RECENT_SHARE * train.min_steps / max(train.recent_epochs, 1)
    return max(math.ceil(steps / _steps_per_pass(train, num_recent)), 1)


def _phases(train: TrainConfig, wanted: list[tuple[Phase, int, int, int]]) -> tuple[PhasePlan, ...]:
    """Steps are counted over all phases: engines carry an incomplete accumulation into the next epoch."""
    phases: list[PhasePlan] = []
    micro_steps = steps = 0
    for name, epochs, passes, num_windows in wanted:
        if not epochs:
            continue
        micro_steps += epochs * passes * _micro_steps(train, num_windows)
        until = max(micro_steps // train.accumulation_steps, steps + (not phases))
        phases.append(PhasePlan(name=name, epochs=epochs, passes=passes, first_step=steps, steps=until - steps))
        steps = until
    return tuple(phases)


def _micro_steps(train: TrainConfig, num_windows: int) -> int:
    return max(math.ceil((num_windows // train.num_workers) / train.micro_batch_size), 1)


def _steps_per_pass(train: TrainConfig, num_windows: int) -> float:
    return _micro_steps(train, num_windows) / train.accumulation_steps
