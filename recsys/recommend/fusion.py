"""Weights of the signals: score = Σ wᵢ · sᵢ, fitted by the likelihood of what users took; it knows no signal's meaning.

A conditional logit (McFadden, 1974): P(c | user) ∝ exp(Σ wᵢ · sᵢ(c)) over the user's candidates, the listwise objective
of ListNet with the taken items as truth (Cao et al., ICML 2007). Shapes: B users, C candidates, S signals.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from recsys.recommend.order import discounts

Floats = npt.NDArray[np.float64]
Signals = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: Pull of every standardised weight towards 0, in nats of all users together: a normal prior that evidence overcomes.
RIDGE = 1.0
_START = 0.1
_CUT = 10
_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """Weights of the signals, by name, and what they were worth on validation."""

    weights: dict[str, float]
    users: int = 0
    """Validation users that the weights were fitted on."""
    ndcg: float = 0.0
    """NDCG@10 of the fused score among the candidates of these users."""
    parts: dict[str, float] | None = None
    """The same of each signal alone."""

    def only(self, allowed: Collection[str] | None) -> "Fusion":
        """The same without the weights of other signals; all alike where none of these has a weight."""
        if allowed is None:
            return self
        kept = {name: weight for name, weight in self.weights.items() if name in allowed}
        return replace(self, weights=kept or dict.fromkeys(allowed, 1.0))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)

    def vector(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """[S] weights in the order of the names; 0 for a signal without one."""
        return np.array([self.weights.get(name, 0.0) for name in names], dtype=np.float32)


#: Where there are too few users to fit anything: the ranker, and a little of what nearly always helps.
PLAIN = Fusion(weights={"retrieval": 1.0, "isolated": 1.0, "newest_lasting": 0.5, "popularity": 0.3, "repeat": 0.3})


def fit_fusion(
    signals: Signals, valid: Bools, taken: Bools, names: Sequence[str], allowed: Collection[str] | None = None
) -> Fusion:
    """The weights under which the taken candidates are likeliest; never worse than the best signal alone.

    A weight may be negative: what goes together all year, beside what does now, tells what is out of season. Where no
    signal that may weigh tells candidates apart, they are the usual ones.

    Args:
        signals: [B, C, S].
        valid: [B, C] which candidates there are.
        taken: [B, C] which of them the user took next; users who took none of theirs tell nothing and are left out.
        names: [S].
        allowed: Signals that may weigh; None: all.
    """
    there = taken.any(axis=1)
    signals, valid, taken = signals[there], valid[there], taken[there]
    assert len(signals), "no user took any candidate"
    assert not (taken & ~valid).any(), "what is no candidate cannot be taken"
    spread = np.maximum(signals[valid].std(axis=0, dtype=np.float64), 1e-6)
    usable = signals[valid].std(axis=0, dtype=np.float64) > 1e-6  # a signal that is the same everywhere tells nothing
    usable &= np.array([allowed is None or name in allowed for name in names])
    if not usable.any():
        return replace(PLAIN.only(allowed), users=len(signals))
    scaled = (signals / spread).astype(np.float32)
    truth = taken / taken.sum(axis=1, keepdims=True)
    ridge = RIDGE / len(signals)

    def objective(weights: Floats) -> tuple[float, Floats]:
        logits = np.where(valid, scaled @ weights.astype(np.float32), -np.inf)
        logits -= logits.max(axis=1, keepdims=True)
        probability = np.exp(logits)
        total = probability.sum(axis=1, keepdims=True)
        log_probability = np.where(taken, logits - np.log(total), 0.0)
        loss = -(truth * log_probability).sum() / len(scaled) + ridge * float(weights @ weights)
        error = (probability / total - truth) / len(scaled)
        gradient = np.einsum("bc,bcs->s", error, scaled, dtype=np.float64) + 2 * ridge * weights
        return float(loss), gradient

    bounds = [(None, None) if free else (0.0, 0.0) for free in usable]
    found = minimize(objective, np.where(usable, _START, 0.0), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = np.round(found.x / spread, _DIGITS)
    fused = _ndcg(np.where(valid, signals @ weights, -np.inf), taken)
    parts = {
        name: _ndcg(np.where(valid, signals[:, :, place], -np.inf), taken)
        for place, name in enumerate(names)
        if usable[place]
    }
    best = max(parts, key=lambda name: parts[name])
    if fused < parts[best]:
        weights, fused = np.array([float(name == best) for name in names]), parts[best]
    return Fusion(
        weights=dict(zip(names, weights.tolist(), strict=True)),
        users=len(signals),
        ndcg=fused,
        parts=parts,
    )


def _ndcg(scores: npt.NDArray[np.floating], taken: Bools) -> float:
    """Mean NDCG@10 of each user's candidates [B, C], equals by column."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :_CUT]
    worth = discounts(_CUT)
    gain = np.take_along_axis(taken, order, axis=1) @ worth[: order.shape[1]]
    best = np.concatenate([[0.0], np.cumsum(worth)])[np.minimum(taken.sum(axis=1), _CUT)]
    return float((gain / best).mean())
