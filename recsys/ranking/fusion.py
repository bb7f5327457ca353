"""Weights of the signals, and which a user gets: score = Σ wᵢ · sᵢ; it knows no signal's meaning.

What a signal is worth hangs on how much it had to go by, and the error of an estimate falls with the root of its
observations: so a weight is wᵢ + s · uᵢ for a user whose history holds n items, where s = 1 / √(1 + n) − 1 / √(1 + m),
and wᵢ from the usual m on. In the midst of a visit it is (wᵢ + s · vᵢ) / (1 + s · t), where t leaves the order as it
is. Among new items, whose signals are borrowed, a weight is wᵢ + nᵢ. How they are found is in `fusion_fit`. Shapes: B
users, C candidates, S signals.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Signals = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def weigh(signals: Signals, valid: Bools, weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """[B, C] Σ weight · signal of [B, C, S] by weights [B, S]; −inf where there is no candidate."""
    return np.where(valid, (signals @ weights[:, :, None])[:, :, 0], -np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """Weights of the signals, by name, and what they were worth on validation."""

    weights: dict[str, float]
    short: dict[str, float] | None = None
    """What is added to them for a user with n ≥ 1 items in the history, times s = max(0, 1 / √(1 + n) − 1 / √(1 +
    usual)); without any item, as with one."""
    visit: dict[str, float] | None = None
    """What is added instead in the midst of a visit; None: the same."""
    temperature: float = 0.0
    """There the sum is divided by 1 + s times this."""
    new: dict[str, float] | None = None
    """What is added to the weights where new items are told apart."""
    usual: int = 0
    """Items that three of four of the histories that ``weights`` were fitted on hold at least."""
    users: int = 0
    """Validation users that the weights were fitted on."""
    ndcg: float = 0.0
    """NDCG@10 of the fused score among the candidates of these users."""
    parts: dict[str, float] | None = None
    """The same of each signal alone."""
    short_ndcg: float = 0.0
    """The same of the fused score where these users' histories are cut to a few items."""
    short_ndcg_without: float = 0.0
    """The same without ``short`` and ``visit``."""
    new_ndcg: float = 0.0
    """The same of the fused score among candidates that all are taken for new."""
    new_ndcg_without: float = 0.0
    """The same without ``new``."""

    def only(self, allowed: Collection[str] | None) -> "Fusion":
        """The same without the weights of other signals; all alike where none of these has a weight."""
        if allowed is None:
            return self
        kept = {name: weight for name, weight in self.weights.items() if name in allowed}
        short, visit, new = (
            None if added is None else {name: weight for name, weight in added.items() if name in allowed}
            for added in (self.short, self.visit, self.new)
        )
        return replace(self, weights=kept or dict.fromkeys(allowed, 1.0), short=short, visit=visit, new=new)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)

    def vector(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """[S] weights in the order of the names; 0 for a signal without one."""
        return _vector(self.weights, names)

    def of_users(
        self, names: Sequence[str], lengths: npt.NDArray[np.int64], visiting: Bools
    ) -> npt.NDArray[np.float32]:
        """[B, S] the same for users with so many items [B] in their histories, in the midst of a visit [B] or not."""
        shortness, midst = self.shortness(lengths)[:, None], visiting[:, None]
        short = _vector(self.short or {}, names)
        visit = short if self.visit is None else _vector(self.visit, names)
        added = shortness * np.where(midst, visit, short)
        return np.asarray((self.vector(names) + added) / self.warmth(lengths, visiting)[:, None])

    def among_new(
        self, names: Sequence[str], lengths: npt.NDArray[np.int64], visiting: Bools
    ) -> npt.NDArray[np.float32]:
        """[B, S] what is added to these weights where new items are told apart."""
        return np.asarray(_vector(self.new or {}, names) / self.warmth(lengths, visiting)[:, None])

    def warmth(self, lengths: npt.NDArray[np.int64], visiting: Bools) -> npt.NDArray[np.float32]:
        """[B] by what the sum of such users is divided; whatever else is added to it must be, too."""
        return np.asarray(1 + self.shortness(lengths) * visiting * np.float32(self.temperature))

    def shortness(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """[B] s: 1 / √(1 + n) above that of a history of usual length."""
        above = 1 / np.sqrt(1 + np.maximum(lengths, 1)) - 1 / np.sqrt(1 + self.usual)
        return np.asarray(np.maximum(above, 0), dtype=np.float32)


def _vector(weights: dict[str, float], names: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.array([weights.get(name, 0.0) for name in names], dtype=np.float32)


#: Where there are too few users to fit anything: the ranker, and a little of what nearly always helps.
PLAIN = Fusion(weights={"retrieval": 1.0, "isolated": 1.0, "newest_lasting": 0.5, "popularity": 0.3, "repeat": 0.3})
