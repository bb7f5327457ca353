"""Weights of the signals: score = Σ wᵢ · sᵢ, fitted by the likelihood of what users took; it knows no signal's meaning.

A conditional logit (McFadden, 1974): P(c | user) ∝ exp(Σ wᵢ · sᵢ(c)) over the user's candidates, the listwise objective
of ListNet with the taken items as truth (Cao et al., ICML 2007). What a signal is worth hangs on how much it had to go
by, and the error of an estimate falls with the root of its observations: so a weight is wᵢ + vᵢ · (1 / √(1 + n) −
1 / √(1 + m)) for a user whose history holds n items, and wᵢ from the usual m on. Shapes: B users, C candidates, S
signals.
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
#: Weights from which the fit starts; of the usual scale, so that it takes few steps.
_START = 0.1
#: A signal that spreads no further is the same everywhere, and tells nothing.
_CONSTANT = 1e-6
_CUT = 10
_DIGITS = 6


def weigh(signals: Signals, valid: Bools, weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """[B, C] Σ weight · signal of [B, C, S] by weights [B, S]; −inf where there is no candidate."""
    return np.where(valid, (signals @ weights[:, :, None])[:, :, 0], -np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What B users took of their candidates."""

    signals: Signals
    """[B, C, S]."""
    valid: Bools
    """[B, C] which candidates there are."""
    taken: Bools
    """[B, C] which of them the user took next."""
    lengths: npt.NDArray[np.int64]
    """[B] different items of the history that the signals were measured by."""

    def rows(self, users: npt.NDArray[np.bool_]) -> "Choices":
        """Those of some users, by a mask [B]."""
        return Choices(
            signals=self.signals[users], valid=self.valid[users], taken=self.taken[users], lengths=self.lengths[users]
        )

    def told(self) -> "Choices":
        """Those of users who took any of their candidates; the others tell nothing."""
        assert not (self.taken & ~self.valid).any(), "what is no candidate cannot be taken"
        return self.rows(np.asarray(self.taken.any(axis=1)))

    def spread(self) -> Floats:
        """[S] standard deviation of each signal over the candidates."""
        return np.asarray(self.signals[self.valid].std(axis=0, dtype=np.float64))

    def scores(self, weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """[B, C] Σ weight · signal, by weights [S] or [B, S]; −inf for none."""
        return weigh(self.signals, self.valid, np.broadcast_to(weights, (len(self.signals), self.signals.shape[2])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """Weights of the signals, by name, and what they were worth on validation."""

    weights: dict[str, float]
    short: dict[str, float] | None = None
    """What is added to them for a user with n ≥ 1 items in the history, times max(0, 1 / √(1 + n) − 1 / √(1 + usual));
    without any item, as with one."""
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
    """The same without ``short``."""

    def only(self, allowed: Collection[str] | None) -> "Fusion":
        """The same without the weights of other signals; all alike where none of these has a weight."""
        if allowed is None:
            return self
        kept = {name: weight for name, weight in self.weights.items() if name in allowed}
        short = {name: weight for name, weight in (self.short or {}).items() if name in allowed}
        return replace(self, weights=kept or dict.fromkeys(allowed, 1.0), short=short or None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)

    def vector(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """[S] weights in the order of the names; 0 for a signal without one."""
        return _vector(self.weights, names)

    def of_lengths(self, names: Sequence[str], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """[B, S] the same for users with so many items [B] in their histories."""
        return self.vector(names) + _shortness(lengths, self.usual)[:, None] * _vector(self.short or {}, names)


def _vector(weights: dict[str, float], names: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.array([weights.get(name, 0.0) for name in names], dtype=np.float32)


def _shortness(lengths: npt.NDArray[np.int64], usual: int) -> npt.NDArray[np.float32]:
    """[B] 1 / √(1 + n) above that of a history of usual length."""
    above = 1 / np.sqrt(1 + np.maximum(lengths, 1)) - 1 / np.sqrt(1 + usual)
    return np.asarray(np.maximum(above, 0), dtype=np.float32)


#: Where there are too few users to fit anything: the ranker, and a little of what nearly always helps.
PLAIN = Fusion(weights={"retrieval": 1.0, "isolated": 1.0, "newest_lasting": 0.5, "popularity": 0.3, "repeat": 0.3})


def fit_fusion(choices: Choices, names: Sequence[str], allowed: Collection[str] | None = None) -> Fusion:
    """The weights under which the taken candidates are likeliest; never worse than the best signal alone.

    A weight may be negative: what goes together all year, beside what does now, tells what is out of season. Where no
    signal that may weigh tells candidates apart, they are the usual ones.

    Args:
        choices: Of users with the whole of their histories.
        names: [S].
        allowed: Signals that may weigh; None: all.
    """
    choices = choices.told()
    assert len(choices.taken), "no user took any candidate"
    spread = choices.spread()
    usable = spread > _CONSTANT
    usable &= np.array([allowed is None or name in allowed for name in names])
    if not usable.any():
        return replace(PLAIN.only(allowed), users=len(choices.taken))
    weights = _likeliest(choices, usable, np.where(usable, _START, 0.0), RIDGE / len(choices.taken), spread)
    fused = _ndcg(choices.scores(weights), choices.taken)
    alone = np.eye(len(names))
    parts = {
        name: _ndcg(choices.scores(alone[place]), choices.taken) for place, name in enumerate(names) if usable[place]
    }
    best = max(parts, key=lambda name: parts[name])
    if fused < parts[best]:
        weights, fused = alone[names.index(best)], parts[best]
    usual = int(np.quantile(choices.lengths, 0.25))
    return Fusion(weights=_named(weights, names), usual=usual, users=len(choices.taken), ndcg=fused, parts=parts)


def fit_short(fusion: Fusion, whole: Choices, short: Choices, names: Sequence[str]) -> Fusion:
    """The same with what is added to its weights for short histories, under which what was taken by these is likeliest.

    Nothing is, where the whole histories' lists would be worse for it than their best signal alone.

    Args:
        fusion: Of `fit_fusion` of the whole histories.
        whole: Of users with the whole of their histories.
        short: Of the same users with a few items, each as often as their histories were cut.
        names: [S].
    """
    whole, short = whole.told(), short.told()
    leaning = _shortness(short.lengths, fusion.usual)
    short, leaning = short.rows(leaning > 0), leaning[leaning > 0]
    if fusion.parts is None or not len(short.taken):
        return fusion
    spread = short.spread()
    usable = (spread > _CONSTANT) & np.array([name in fusion.parts for name in names])
    scaled = replace(short, signals=short.signals * leaning[:, None, None])
    before = short.scores(fusion.vector(names))
    # a user weighs once, however many times their history was cut
    found = _likeliest(scaled, usable, np.zeros(len(names)), RIDGE / fusion.users, spread, before)
    with_it = replace(fusion, short=_named(found, names), short_ndcg_without=_ndcg(before, short.taken))
    ndcg, short_ndcg = (
        _ndcg(choices.scores(with_it.of_lengths(names, choices.lengths)), choices.taken) for choices in (whole, short)
    )
    if ndcg < max(fusion.parts.values()):
        return fusion
    return replace(with_it, ndcg=ndcg, short_ndcg=short_ndcg)


def _likeliest(
    choices: Choices,
    usable: Bools,
    start: Floats,
    ridge: float,
    spread: Floats,
    before: npt.NDArray[np.floating] | None = None,
) -> Floats:
    """[S] weights under which what was taken is likeliest, rounded; a user who took much counts as much as another.

    Args:
        choices: Of users who each took something.
        usable: [S] signals that may weigh.
        start: [S] standardised weights to start from.
        ridge: Pull of each standardised weight towards 0, in nats of one user.
        spread: [S] of the signals, by which weights are standardised.
        before: [B, C] scores that the weighed signals are added to; None: none.
    """
    spread = np.maximum(spread, _CONSTANT)
    scaled = choices.signals / spread.astype(np.float32)
    truth = choices.taken / choices.taken.sum(axis=1, keepdims=True)
    offset = np.where(choices.valid, 0.0 if before is None else before, -np.inf)

    def objective(weights: Floats) -> tuple[float, Floats]:
        logits = offset + scaled @ weights.astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        probability = np.exp(logits)
        total = probability.sum(axis=1, keepdims=True)
        log_probability = np.where(choices.taken, logits - np.log(total), 0.0)
        loss = -(truth * log_probability).sum() / len(scaled) + ridge * float(weights @ weights)
        error = (probability / total - truth) / len(scaled)
        gradient = np.einsum("bc,bcs->s", error, scaled, dtype=np.float64) + 2 * ridge * weights
        return float(loss), gradient

    bounds = [(None, None) if free else (0.0, 0.0) for free in usable]
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(np.round(found.x / spread, _DIGITS))


def _named(weights: Floats, names: Sequence[str]) -> dict[str, float]:
    return dict(zip(names, weights.tolist(), strict=True))


def _ndcg(scores: npt.NDArray[np.floating], taken: Bools) -> float:
    """Mean NDCG@10 of each user's candidates [B, C], equals by column."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :_CUT]
    worth = discounts(_CUT)
    gain = np.take_along_axis(taken, order, axis=1) @ worth[: order.shape[1]]
    best = np.concatenate([[0.0], np.cumsum(worth)])[np.minimum(taken.sum(axis=1), _CUT)]
    return float((gain / best).mean())
