"""How far a training has come, and what is next; it knows figures, no weights and no files."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from recsys.training.plan import Phase, Plan

#: Figures of an epoch beside those of `loop.train_epoch`: its number from 1, and how well it ranks what validation
#: users took, by retrieval and by the isolated pass where that was trained; the latter only where somebody is held out.
EPOCH = "epoch"
RETRIEVAL = "validation_ndcg@10"
ISOLATED = "isolated_ndcg@10"


@dataclass
class Progress:
    """What a training that was cut off needs to go on, beside DeepSpeed's own state."""

    history: list[dict[str, float]] = field(default_factory=list)
    """Figures of each finished epoch."""
    phases: list[Phase] = field(default_factory=list)
    """Phase of each."""

    def next_phase(self, plan: Plan, patience: int) -> Phase | None:
        """What the next epoch trains; None: the training is over.

        The epochs of softmax alone end where ``patience`` of them brought no better validation; later phases are short
        and run whole.
        """
        begun = len(set(self.phases))
        for place, phase in enumerate(plan.phases):
            done = self.phases.count(phase.name)
            if place < begun - 1 or done >= phase.epochs:
                continue
            if phase.name == "softmax" and self.epochs_without_gain >= patience:
                continue
            return phase.name
        return None

    def begins(self, phase: Phase) -> bool:
        """Whether no epoch of the phase is finished, but some of another."""
        return bool(self.phases) and phase not in self.phases

    @property
    def epochs_without_gain(self) -> int:
        """Epochs since the best one."""
        scores = [score(epoch) for epoch in self.history]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def score(epoch: dict[str, float]) -> float:
    """What an epoch's model is worth: its retrieval, or its isolated pass where that ranks better.

    Where nothing was measured it is the epoch's number, so that the last one counts and none ends the training early.
    """
    if RETRIEVAL not in epoch:
        return epoch[EPOCH]
    return max(epoch[RETRIEVAL], epoch.get(ISOLATED, 0.0))


def recent_helped(history: Sequence[dict[str, float]], phases: Sequence[Phase]) -> bool:
    """Whether validation gained by the phase over the newest targets."""
    scores = {
        name: [epoch.get(RETRIEVAL, 0.0) for epoch, phase in zip(history, phases, strict=True) if phase == name]
        for name in phases
    }
    return max(scores.get("recent", [0.0])) > max(scores["softmax"])


def isolated_is_better(epoch: dict[str, float]) -> bool:
    """Whether lists should come from the isolated pass: never where it ranks no better than retrieval."""
    return epoch.get(ISOLATED, 0.0) > epoch.get(RETRIEVAL, 0.0)
