"""The weights of the signals, fitted by what users took of their candidates; it knows no signal's meaning.

A conditional logit (McFadden, 1974): P(c | user) ∝ exp(Σ wᵢ · sᵢ(c)) over the user's candidates, the listwise objective
of ListNet with the taken items as truth (Cao et al., ICML 2007). Of many items that a user took most cannot be
foreseen, and what makes those likely, too, hides the others: so a user's likelihood is the power mean of the P of what
they took, which lies nearer to the likeliest of them than the geometric mean, ListNet's. In the midst of a visit the
weights do not make likely what is taken, but put it to the front of the list; a temperature then makes P likely again.
Shapes: B users, C candidates, S signals.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar

from recsys.ranking.approx_ndcg import approx_ndcg
from recsys.ranking.fusion import PLAIN, Bools, Fusion, Signals, weigh
from recsys.signals.order import discounts

Floats = npt.NDArray[np.float64]

#: Pull of every standardised weight towards 0, in nats of all users together: a normal prior that evidence overcomes.
RIDGE = 1.0
#: The same where weights are fitted from nothing: signals that say nearly the same shall share what they are worth.
FIRST_RIDGE = 10.0
#: The same of what is added in the midst of a visit, in NDCG of all users together.
VISIT_RIDGE = 0.03
#: Exponent of the power mean: 0 is the geometric mean, at 1 it is enough that one of many was likely.
FORESEEN = 0.5
#: Weights from which the fit starts; of the usual scale, so that it takes few steps.
_START = 0.1
#: A signal that spreads no further is the same everywhere, and tells nothing.
_CONSTANT = 1e-6
#: Between what a temperature is looked for; 1 + s · t is above 0.
_TEMPERATURES = (-1.0, 100.0)
_CUT = 10
_DIGITS = 6


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
    visiting: Bools
    """[B] who is in the midst of a visit, whose history goes up to this moment."""

    def rows(self, users: npt.NDArray[np.bool_]) -> "Choices":
        """Those of some users, by a mask [B]."""
        return Choices(**{part.name: getattr(self, part.name)[users] for part in fields(self)})

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
    users = len(choices.taken)
    weights = np.where(usable, _START / np.maximum(spread, _CONSTANT), 0.0)
    for power in (0.0, FORESEEN):  # the second has several maxima: it is the one near the only one of the first
        weights = _likeliest(choices, usable, weights, FIRST_RIDGE / users, spread, power=power)
    pull = RIDGE / users * float(((weights * spread) ** 2).sum())
    weights = weights / (1 + _temperature(choices.scores(weights), choices.taken, np.ones(users), pull))
    weights = np.round(weights, _DIGITS)
    fused = float(_ndcg(choices.scores(weights), choices.taken).mean())
    alone = np.eye(len(names))
    parts = {
        name: float(_ndcg(choices.scores(alone[place]), choices.taken).mean())
        for place, name in enumerate(names)
        if usable[place]
    }
    best = max(parts, key=lambda name: parts[name])
    if fused < parts[best]:
        weights, fused = alone[names.index(best)], parts[best]
    usual = int(np.quantile(choices.lengths, 0.25))
    return Fusion(weights=_named(weights, names), usual=usual, users=len(choices.taken), ndcg=fused, parts=parts)


def fit_short(fusion: Fusion, whole: Choices, short: Choices, names: Sequence[str]) -> Fusion:
    """The same with what is added to its weights for short histories, and for those in the midst of a visit.

    Neither is added where the lists of those whom it is for are none the better for it, or those of whole histories
    worse than by their best signal alone.

    Args:
        fusion: Of `fit_fusion` of the whole histories.
        whole: Of users with the whole of their histories.
        short: Of the same users with the first few items of a visit, each as often as it was cut.
        names: [S].
    """
    whole, short = whole.told(), short.told()
    short = short.rows(fusion.shortness(short.lengths) > 0)
    if fusion.parts is None or not len(short.taken):
        return fusion
    weight = fusion.users / len(short.taken)  # a user weighs once, however many times their history was cut
    floor = max(fusion.parts.values())
    found = fusion

    added = replace(found, short=_named(_for_short(fusion, short, weight, names), names), visit={})
    others = [part.rows(~part.visiting) for part in (whole, short)]
    if _gain(added, found, others, names) > 0 and _ndcg_of(added, whole, names).mean() >= floor:
        found = added

    visits = short.rows(short.visiting)
    if len(visits.taken):
        added = replace(found, visit=_named(_for_visits(fusion, visits, weight, names), names))
        scores = visits.scores(added.of_users(names, visits.lengths, visits.visiting))
        temperature = _temperature(scores, visits.taken, fusion.shortness(visits.lengths))
        added = replace(added, temperature=round(temperature, _DIGITS))
        if _gain(added, found, [visits], names) > 0 and _ndcg_of(added, whole, names).mean() >= floor:
            found = added

    if found is fusion:
        return fusion
    return replace(
        found,
        ndcg=float(_ndcg_of(found, whole, names).mean()),
        short_ndcg=float(_ndcg_of(found, short, names).mean()),
        short_ndcg_without=float(_ndcg_of(fusion, short, names).mean()),
    )


def fit_new(fusion: Fusion, strangers: Choices, names: Sequence[str]) -> Fusion:
    """The same with what is added to its weights among new items, where their order is any the better for it.

    Of new items nobody took any, so they are learned from known ones that are taken for new: their signals are what
    they would borrow.

    Args:
        fusion: Of `fit_fusion`.
        strangers: Of users whose candidates all are taken for new.
        names: [S].
    """
    strangers = strangers.told()
    if fusion.parts is None or not len(strangers.taken):
        return fusion
    usable, spread = _usable(fusion, strangers, names)
    weights = fusion.of_users(names, strangers.lengths, strangers.visiting)
    ridge = RIDGE / len(strangers.taken)
    added = _likeliest(strangers, usable, np.zeros(len(names)), ridge, spread, strangers.scores(weights))
    new = replace(fusion, new=_named(added, names))
    more = new.among_new(names, strangers.lengths, strangers.visiting)
    with_it, without = (
        float(_ndcg(strangers.scores(each), strangers.taken).mean()) for each in (weights + more, weights)
    )
    if with_it <= without:
        return fusion
    return replace(new, new_ndcg=with_it, new_ndcg_without=without)


def _gain(other: Fusion, found: Fusion, parts: Sequence[Choices], names: Sequence[str]) -> float:
    """NDCG@10 by which all of these users together are better served by another one."""
    return float(sum((_ndcg_of(other, part, names) - _ndcg_of(found, part, names)).sum() for part in parts))


def _ndcg_of(fusion: Fusion, choices: Choices, names: Sequence[str]) -> Floats:
    """[B] NDCG@10 of what each user took of their candidates."""
    return _ndcg(choices.scores(fusion.of_users(names, choices.lengths, choices.visiting)), choices.taken)


def _for_short(fusion: Fusion, short: Choices, weight: float, names: Sequence[str]) -> Floats:
    """[S] of `Fusion.short`, by users with few items of whom each counts as much as this part of one."""
    scaled, usable, spread = _leaning(fusion, short, names)
    before = short.scores(fusion.vector(names))
    ridge = RIDGE / (weight * len(short.taken))
    return _likeliest(scaled, usable, np.zeros(len(names)), ridge, spread, before)


def _for_visits(fusion: Fusion, visits: Choices, weight: float, names: Sequence[str]) -> Floats:
    """[S] of `Fusion.visit`, alike."""
    scaled, usable, spread = _leaning(fusion, visits, names)
    before = visits.scores(fusion.vector(names))
    return _foremost(scaled, usable, VISIT_RIDGE / (weight * len(visits.taken)), spread, before)


def _leaning(fusion: Fusion, short: Choices, names: Sequence[str]) -> tuple[Choices, Bools, Floats]:
    """Signals times how short the histories are, which of them [S] may weigh, and the spread [S] of what they were."""
    leaning = fusion.shortness(short.lengths)
    return replace(short, signals=short.signals * leaning[:, None, None]), *_usable(fusion, short, names)


def _usable(fusion: Fusion, choices: Choices, names: Sequence[str]) -> tuple[Bools, Floats]:
    """[S] signals of fitted weights to which anything may be added, and the spread [S] of each."""
    assert fusion.parts is not None
    spread = choices.spread()
    return (spread > _CONSTANT) & np.array([name in fusion.parts for name in names]), spread


def _likeliest(
    choices: Choices,
    usable: Bools,
    start: Floats,
    ridge: float,
    spread: Floats,
    before: npt.NDArray[np.floating] | None = None,
    power: float = 0.0,
) -> Floats:
    """[S] weights under which what was taken is likeliest, rounded; a user who took much counts as much as another.

    Args:
        choices: Of users who each took something.
        usable: [S] signals that may weigh.
        start: [S] weights to start from.
        ridge: Pull of each standardised weight towards 0, in nats of one user.
        spread: [S] of the signals, by which weights are standardised.
        before: [B, C] scores that the weighed signals are added to; None: none.
        power: Exponent of the mean of what a user took.
    """
    spread = np.maximum(spread, _CONSTANT)
    scaled = choices.signals / spread.astype(np.float32)
    num = choices.taken.sum(axis=1, keepdims=True)
    offset = np.where(choices.valid, 0.0 if before is None else before, -np.inf)

    def objective(weights: Floats) -> tuple[float, Floats]:
        logits = offset + scaled @ weights.astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        probability = np.exp(logits)
        total = probability.sum(axis=1, keepdims=True)
        log_probability = np.where(choices.taken, logits - np.log(total), 0.0)
        raised = np.where(choices.taken, np.exp(power * log_probability), 0.0)  # at power 0 all 1
        truth = raised / raised.sum(axis=1, keepdims=True)
        likelihood = np.log(raised.sum(axis=1, keepdims=True) / num) / power if power else log_probability / num
        loss = -likelihood.sum() / len(scaled) + ridge * float(weights @ weights)
        error = (probability / total - truth) / len(scaled)
        gradient = np.einsum("bc,bcs->s", error, scaled, dtype=np.float64) + 2 * ridge * weights
        return float(loss), gradient

    return _least(objective, start * spread, usable, spread)


def _foremost(
    choices: Choices, usable: Bools, ridge: float, spread: Floats, before: npt.NDArray[np.floating]
) -> Floats:
    """[S] what to add to weights so that what was taken stands in front, rounded; one maximum, maybe of several.

    Args:
        choices: Of users who each took something.
        usable: [S] signals to whose weights anything may be added.
        ridge: Pull of each standardised weight towards 0, in NDCG of one user.
        spread: [S] of the signals, by which weights are standardised.
        before: [B, C] scores that the weighed signals are added to.
    """
    spread = np.maximum(spread, _CONSTANT)
    scaled = choices.signals / spread.astype(np.float32)

    def objective(weights: Floats) -> tuple[float, Floats]:
        scores = (before + scaled @ weights.astype(np.float32)).astype(np.float64)
        values, slopes = approx_ndcg(scores, choices.taken, _CUT)
        gradient = np.einsum("bc,bcs->s", slopes, scaled, dtype=np.float64) / len(scaled)
        return ridge * float(weights @ weights) - float(values.mean()), 2 * ridge * weights - gradient

    return _least(objective, np.zeros(len(spread)), usable, spread)


def _least(objective: Callable[[Floats], tuple[float, Floats]], start: Floats, usable: Bools, spread: Floats) -> Floats:
    """[S] weights, rounded, whose standardised selves [S] make an objective least, from where it starts."""
    bounds = [(None, None) if free else (0.0, 0.0) for free in usable]
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(np.round(found.x / spread, _DIGITS))


def _temperature(
    scores: npt.NDArray[np.floating], taken: Bools, leaning: npt.NDArray[np.floating], pull: float = 0.0
) -> float:
    """The t under which what was taken is likeliest where the scores [B, C] are divided by 1 + leaning [B] · t.

    A pull keeps few users from making scores large: nats of one user that their weights cost as they are.
    """
    scores = scores.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    truth = taken / taken.sum(axis=1, keepdims=True)

    def surprise(temperature: float) -> float:
        logits = scores / (1 + leaning[:, None] * temperature)
        total = np.log(np.exp(logits).sum(axis=1))
        surprised = float((total - (truth * np.where(taken, logits, 0.0)).sum(axis=1)).mean())
        return surprised + pull / (1 + temperature) ** 2

    return float(minimize_scalar(surprise, bounds=_TEMPERATURES, method="bounded").x)


def _named(weights: Floats, names: Sequence[str]) -> dict[str, float]:
    return dict(zip(names, weights.tolist(), strict=True))


def _ndcg(scores: npt.NDArray[np.floating], taken: Bools) -> Floats:
    """[B] NDCG@10 of each user's candidates [B, C], equals by column."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :_CUT]
    worth = discounts(_CUT)
    gain = np.take_along_axis(taken, order, axis=1) @ worth[: order.shape[1]]
    best = np.concatenate([[0.0], np.cumsum(worth)])[np.minimum(taken.sum(axis=1), _CUT)]
    return np.asarray(gain / best, dtype=np.float64)
