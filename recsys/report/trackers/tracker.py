"""What a tracker gets of a night, and what it is."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys.report.config_changes import without_credentials

Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedNight:
    """A night for trackers."""

    run_id: str
    model_id: str
    report: str
    """Address of the night's report."""
    verdict: str
    """What the gates said; empty where none was reached."""
    settings: Mapping[str, Plain]
    """Every key of the config, such as `train.epochs`."""
    curves: Mapping[str, Sequence[tuple[int, float]]]
    """(step, value) of each curve, such as `finetune/loss`."""
    figures: Mapping[str, float]
    """The final figures, such as `gate/ndcg@10`."""


class Tracker(ABC):
    """One place that keeps nights."""

    name: str

    @abstractmethod
    def log(self, night: TrackedNight) -> None:
        """Store a night; the same night again replaces what was stored.

        Raises:
            Exception: whatever its library raises. The caller logs it: a tracker never changes a night's outcome.
        """


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, Plain]:
    """Nested settings with the full path of each key; lists as text, addresses without users and passwords.

    >>> flat({"train": {"epochs": 3}, "plugins": ["a", "b"]})
    {'train.epochs': 3, 'plugins': 'a, b'}
    """
    found: dict[str, Plain] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            found[f"{prefix}{key}"] = without_credentials(", ".join(map(str, value)))
        else:
            found[f"{prefix}{key}"] = (
                value if isinstance(value, int | float | None) else without_credentials(str(value))
            )
    return found


def plain_name(name: str) -> str:
    """The name of a curve or figure in the signs that TensorBoard and MLflow accept.

    >>> plain_name("gate/ndcg@10")
    'gate/ndcg_at_10'
    """
    return re.sub(r"[^\w\-./]", "_", name.replace("@", "_at_"))
