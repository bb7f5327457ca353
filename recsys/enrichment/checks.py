"""Checks of written texts that a shop brings itself, such as a classifier of toxic texts; plugins register them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from recsys.enrichment.written_text import WrittenText
from recsys.registry import Registry


class TextCheck(ABC):
    """Judges texts. It is made once in each worker, so it may load a model when it is first called."""

    name: ClassVar[str]
    """What `enrich.checks` says."""

    @abstractmethod
    def refused(self, texts: Sequence[str]) -> Sequence[str]:
        """For each text why it is refused, in some words; empty: it may be used."""


TEXT_CHECKS: Registry[TextCheck] = Registry("text check")


def apply_checks(texts: Sequence[WrittenText], names: Iterable[str]) -> list[WrittenText]:
    """The texts; those that a check refuses have its reason in place of their words."""
    checked = list(texts)
    for name in names:
        places = [place for place, text in enumerate(checked) if not text.refused]
        if not places:  # many classifiers take no empty batch
            break
        reasons = TEXT_CHECKS[name].refused([checked[place].as_line for place in places])
        assert len(reasons) == len(places), f"text check {name} gave {len(reasons)} answers for {len(places)} texts"
        for place, reason in zip(places, reasons, strict=True):
            if reason:
                checked[place] = WrittenText(refused=f"{name}: {reason}"[:200])
    return checked
