"""The weights of the signals' numbers: score = Σ wᵢ · sᵢ, with weights that depend on the user.

Signals are less reliable for short histories, and the error of an estimate falls with the root of its observations. So
a weight is wᵢ + s · uᵢ for a user whose history holds n items, where s = 1 / √(1 + n) − 1 / √(1 + m) is the
short-history factor; it is 0 from the typical length m on. In a session a weight is (wᵢ + s · vᵢ) / (1 + s · t); the
temperature t leaves the order as it is. `recsys.ranking.fusion_fit` fits them.

Shapes: B users, C candidates, S numbers of all signals.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.ranking.trees import Trees
from recsys.signals.signal import Signal

Signals = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: Added where the ranker learned nothing: what a history whose items all have the text of an item counts for it, in
#: nats, and what a cosine of 1 with a search does.
UNTRAINED_WEIGHTS = {"text": 10.0, "query": 3.0}


def weigh(signals: Signals, valid: Bools, weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """[B, C] Σ weight · number of [B, C, S] by weights [B, S]; −inf where there is no candidate."""
    return np.where(valid, (signals @ weights[:, :, None])[:, :, 0], -np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """Weights of the signals' numbers, by name, and what they were worth on validation."""

    weights: dict[str, float]
    """wᵢ."""
    short: dict[str, float] | None = None
    """uᵢ, added for users with a short history, times the short-history factor."""
    session: dict[str, float] | None = None
    """vᵢ, added instead of uᵢ in a session; None: the same as ``short``."""
    temperature: float = 0.0
    """t of users in a session."""
    typical_length: int = 0
    """m: three of four histories that ``weights`` were fitted on hold at least as many items."""
    users: int = 0
    """Validation users that the weights were fitted on."""
    ndcg: float = 0.0
    """NDCG@10 of the fused score among the candidates of these users."""
    parts: dict[str, float] | None = None
    """NDCG@10 of each number alone."""
    short_ndcg: float = 0.0
    """NDCG@10 of the fused score where the histories are cut to a few items."""
    short_ndcg_without: float = 0.0
    """The same without ``short`` and ``session``."""
    trained: bool = True
    """Whether the ranker learned something; else its numbers are random and have no weight."""
    trees: Trees | None = None
    """What corrects the weighted sum; None: nothing does."""

    def only(self, allowed: Collection[str] | None) -> "Fusion":
        """The same without the weights of other numbers; equal weights where none of the allowed has one."""
        if allowed is None:
            return self
        kept = {name: weight for name, weight in self.weights.items() if name in allowed}
        short, session = (
            None if added is None else {name: weight for name, weight in added.items() if name in allowed}
            for added in (self.short, self.session)
        )
        return replace(self, weights=kept or dict.fromkeys(sorted(allowed), 1.0), short=short, session=session)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON, without the trees, which have a file of their own."""
        values = asdict(replace(self, trees=None))
        del values["trees"]
        return values

    def vector(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """[S] weights in the order of the names; 0 for a number without a weight."""
        return _vector(self.weights, names)

    def of_users(
        self, names: Sequence[str], lengths: npt.NDArray[np.int64], in_session: Bools
    ) -> npt.NDArray[np.float32]:
        """[B, S] weights of users with these numbers of items [B] in their histories, in a session [B] or not."""
        factor = self.short_history_factor(lengths)[:, None]
        short = _vector(self.short or {}, names)
        session = short if self.session is None else _vector(self.session, names)
        added = factor * np.where(in_session[:, None], session, short)
        return np.asarray((self.vector(names) + added) / self.temperature_of(lengths, in_session)[:, None])

    def temperature_of(self, lengths: npt.NDArray[np.int64], in_session: Bools) -> npt.NDArray[np.float32]:
        """[B] 1 + s · t in a session, otherwise 1; whatever is added to the sum must be divided by it too."""
        return np.asarray(1 + self.short_history_factor(lengths) * in_session * np.float32(self.temperature))

    def short_history_factor(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """[B] s; a history without any item counts as one with one item."""
        above = 1 / np.sqrt(1 + np.maximum(lengths, 1)) - 1 / np.sqrt(1 + self.typical_length)
        return np.asarray(np.maximum(above, 0), dtype=np.float32)


def default_fusion(signals: Iterable[Signal]) -> Fusion:
    """The weights where there are too few users to fit any: the ranker, and a little of what nearly always helps."""
    return Fusion(weights={name: weight for signal in signals for name, weight in signal.default_weights.items()})


def untrained_fusion(signals: Iterable[Signal], allowed: Collection[str]) -> Fusion:
    """The weights where the ranker had nothing to learn from: the default ones, and those of the texts.

    Args:
        signals: All of them.
        allowed: Numbers that may have a weight, none of them the ranker's, which are random.
    """
    return replace(Fusion(weights=default_fusion(signals).weights | UNTRAINED_WEIGHTS).only(allowed), trained=False)


def _vector(weights: dict[str, float], names: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.array([weights.get(name, 0.0) for name in names], dtype=np.float32)
