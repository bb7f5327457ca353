"""How far a training has come, and which phase is next."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from recsys.training.phases import Phase, Plan

#: Figures of an epoch, in addition to those of `loop.train_epoch`: its number from 1; CPU seconds of the first worker;
#: NDCG@10 on validation users by retrieval, and by the candidate pass if that was trained. Without validation users the
#: latter two are missing.
EPOCH = "epoch"
CPU = "cpu_s"
RETRIEVAL = "validation_ndcg@10"
CANDIDATE_PASS = "candidate_pass_ndcg@10"  # noqa: S105 (a metric)

#: Epochs of the recent phase without a better validation after which it ends. On seven data sets it either helped
#: within two epochs of the last gain, or not at all.
RECENT_PATIENCE = 2


@dataclass
class Progress:
    """What an interrupted training needs to continue, in addition to the engine's state."""

    history: list[dict[str, float]] = field(default_factory=list)
    """Figures of each finished epoch."""
    phases: list[Phase] = field(default_factory=list)
    """Phase of each."""

    def next_phase(self, plan: Plan, patience: int) -> Phase | None:
        """The phase of the next epoch; None: the training is complete.

        The softmax phase ends early after ``patience`` epochs without a better validation, the recent phase after two
        of its own, and that of new events after one: in the first nights of Online Retail that were continued, each
        further epoch was worse than the one before. Later phases are short and run to their end.
        """
        begun = len(set(self.phases))
        for place, phase in enumerate(plan.phases):
            done = self.phases.count(phase.name)
            if place < begun - 1 or done >= phase.epochs:
                continue
            if phase.name == "softmax" and self.epochs_without_gain >= patience:
                continue
            if phase.name == "recent" and min(self.epochs_without_gain, done) >= RECENT_PATIENCE:
                continue
            if phase.name == "new_events" and self.epochs_without_gain:
                continue
            return phase.name
        return None

    def begins(self, phase: Phase) -> bool:
        """Whether epochs of other phases are finished, but none of this one."""
        return bool(self.phases) and phase not in self.phases

    @property
    def epochs_without_gain(self) -> int:
        """Epochs since the best one."""
        scores = [score(epoch) for epoch in self.history]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def score(epoch: dict[str, float]) -> float:
    """Quality of an epoch's model: NDCG of retrieval, or of the candidate pass if that is higher.

    Without validation users it is the epoch's number. Then the last epoch is the best, and none ends the training.
    """
    if RETRIEVAL not in epoch:
        return epoch[EPOCH]
    return max(epoch[RETRIEVAL], epoch.get(CANDIDATE_PASS, 0.0))


def recent_helped(history: Sequence[dict[str, float]], phases: Sequence[Phase]) -> bool:
    """Whether the recent phase improved the best validation result."""
    scores = {
        name: [epoch.get(RETRIEVAL, 0.0) for epoch, phase in zip(history, phases, strict=True) if phase == name]
        for name in phases
    }
    return max(scores.get("recent", [0.0])) > max(scores.get("softmax", [0.0]))


def candidate_pass_is_better(epoch: dict[str, float]) -> bool:
    """Whether lists should use the candidate pass: only if it ranks better than retrieval."""
    return epoch.get(CANDIDATE_PASS, 0.0) > epoch.get(RETRIEVAL, 0.0)
