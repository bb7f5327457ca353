"""Fitting the weights of the signals' numbers on what validation users took of their candidates.

Weights for whole histories come first, then what is added for short histories and in a session. Each addition is kept
only where it ranks better on validation. Shapes: B users, C candidates, S numbers of all signals.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from recsys.ranking.choices import Choices
from recsys.ranking.fusion import Bools, Fusion
from recsys.ranking.fusion_objective import CONSTANT, DIGITS, fit_likelihood, fit_ndcg, fit_temperature, rounded

Floats = npt.NDArray[np.float64]

#: L2 penalty of every standardised weight, in nats of all users together: a normal prior that evidence overcomes. With
#: 80 users it brings 4 to 8 % of NDCG@10 on Amazon Scientific and Toys, with 500 users next to nothing.
RIDGE = 1.0
#: The same for the first weights: numbers that say nearly the same shall share the weight.
FIRST_RIDGE = 10.0
#: The same for what is added in a session, in NDCG of all users together.
SESSION_RIDGE = 0.03
#: A mean is clearly above 0 from so many of its standard errors on.
CLEAR_ERRORS = 2.0
#: Exponent of the power mean over what a user took; at 1 one likely item of many would be enough.
POWER = 0.5
#: Weights from which the fit starts; of a usual scale, so that it takes few steps.
_START = 0.1


def fit_weights(
    choices: Choices,
    names: Sequence[str],
    default: Fusion,
    allowed: Collection[str] | None = None,
    ndcg_alone: Floats | None = None,
) -> Fusion:
    """The weights that maximise the likelihood of what was taken; the best number alone if it clearly ranks better.

    Clearly means outside the noise of the users: the best of many numbers looks better on them than it is. Without
    that margin a night of a small shop kept the ranker alone, at the cost of 8 % of NDCG@10 for the users of the lists.

    A weight may be negative: what goes together all year, beside what does now, shows what is out of season.

    Args:
        choices: Of users with their whole histories.
        names: [S].
        default: The answer where no allowed number differs between candidates.
        allowed: Numbers that may have a weight; None: all.
        ndcg_alone: `Choices.ndcg_alone` of users who each took something; None: it is computed.
    """
    choices = choices.with_positives()
    users = len(choices.taken)
    assert users, "no user took any candidate"
    spread = choices.spread()
    usable = spread > CONSTANT
    usable &= np.array([allowed is None or name in allowed for name in names])
    if not usable.any():
        return replace(default.only(allowed), users=users)
    weights = np.where(usable, _START / np.maximum(spread, CONSTANT), 0.0)
    for power in (0.0, POWER):  # the second has several maxima: it is the one near the only one of the first
        weights = fit_likelihood(choices, usable, weights, FIRST_RIDGE / users, spread, power=power)
    penalty = RIDGE / users * float(((weights * spread) ** 2).sum())
    weights = weights / (1 + fit_temperature(choices.scores(weights), choices.taken, np.ones(users), penalty))
    weights = rounded(weights, spread)
    fused = choices.ndcg(weights)
    ndcg_alone = choices.ndcg_alone() if ndcg_alone is None else ndcg_alone
    alone = {name: ndcg_alone[place] for place, name in enumerate(names) if usable[place]}
    best = max(alone, key=lambda name: float(alone[name].mean()))
    if clearly_positive(alone[best] - fused):
        weights, fused = np.eye(len(names))[names.index(best)], alone[best]
    parts = {name: float(each.mean()) for name, each in alone.items()}
    typical = int(np.quantile(choices.lengths, 0.25))
    return Fusion(
        weights=_named(weights, names), typical_length=typical, users=users, ndcg=float(fused.mean()), parts=parts
    )


def fit_short(fusion: Fusion, whole: Choices, short: Choices, names: Sequence[str]) -> Fusion:
    """The same with what is added for short histories, and for short histories in a session.

    Neither is added where it does not rank better for the users it is for, or where whole histories would be ranked
    worse than by their best number alone.

    Args:
        fusion: Of `fit_weights` on the whole histories.
        whole: Of users with their whole histories.
        short: Of the same users with the first few items of a session, once for each cut.
        names: [S].
    """
    whole, short = whole.with_positives(), short.with_positives()
    short = short.rows(fusion.short_history_factor(short.lengths) > 0)
    if fusion.parts is None or not len(short.taken):
        return fusion
    share = fusion.users / len(short.taken)  # a user counts once, however many times their history was cut
    floor = min(fusion.ndcg, max(fusion.parts.values()))
    found = fusion

    added = replace(found, short=_named(_for_short(fusion, short, share, names), names), session={})
    others = [part.rows(~part.in_session) for part in (whole, short)]
    if _gain(added, found, others, names) > 0 and _ndcg(added, whole, names).mean() >= floor:
        found = added

    sessions = short.rows(short.in_session)
    if len(sessions.taken):
        added = replace(found, session=_named(_for_sessions(fusion, sessions, share, names), names))
        scores = sessions.scores(added.of_users(names, sessions.lengths, sessions.in_session))
        temperature = fit_temperature(scores, sessions.taken, fusion.short_history_factor(sessions.lengths))
        added = replace(added, temperature=round(temperature, DIGITS))
        if _gain(added, found, [sessions], names) > 0 and _ndcg(added, whole, names).mean() >= floor:
            found = added

    if found is fusion:
        return fusion
    return replace(
        found,
        ndcg=float(_ndcg(found, whole, names).mean()),
        short_ndcg=float(_ndcg(found, short, names).mean()),
        short_ndcg_without=float(_ndcg(fusion, short, names).mean()),
    )


def clearly_positive(gains: Floats, errors: float = CLEAR_ERRORS) -> bool:
    """Whether the mean of some users' gains [B] is above 0 by more than so many of its standard errors."""
    return bool(gains.mean() > errors * gains.std() / np.sqrt(len(gains)))


def _gain(other: Fusion, found: Fusion, parts: Sequence[Choices], names: Sequence[str]) -> float:
    """Sum over these users of the NDCG@10 by which the other fusion ranks better."""
    return float(sum((_ndcg(other, part, names) - _ndcg(found, part, names)).sum() for part in parts))


def _ndcg(fusion: Fusion, choices: Choices, names: Sequence[str]) -> Floats:
    """[B] NDCG@10 of what each user took of their candidates."""
    return choices.ndcg(fusion.of_users(names, choices.lengths, choices.in_session))


def _for_short(fusion: Fusion, short: Choices, share: float, names: Sequence[str]) -> Floats:
    """[S] of `Fusion.short`; each user of ``short`` counts as this share of a user."""
    scaled, usable, spread = _times_factor(fusion, short, names)
    before = short.scores(fusion.vector(names))
    ridge = RIDGE / (share * len(short.taken))
    return fit_likelihood(scaled, usable, np.zeros(len(names)), ridge, spread, before)


def _for_sessions(fusion: Fusion, sessions: Choices, share: float, names: Sequence[str]) -> Floats:
    """[S] of `Fusion.session`; each user counts as this share of a user.

    In a session the weights do not make likely what is taken, but put it to the front of the list; the temperature
    makes P likely again.
    """
    scaled, usable, spread = _times_factor(fusion, sessions, names)
    before = sessions.scores(fusion.vector(names))
    return fit_ndcg(scaled, usable, SESSION_RIDGE / (share * len(sessions.taken)), spread, before)


def _times_factor(fusion: Fusion, short: Choices, names: Sequence[str]) -> tuple[Choices, Bools, Floats]:
    """Numbers times the short-history factor, which of them [S] may have a weight, and the spread [S] without it."""
    assert fusion.parts is not None, "the weights were not fitted"
    factor, spread = fusion.short_history_factor(short.lengths), short.spread()
    usable = (spread > CONSTANT) & np.array([name in fusion.parts for name in names])
    return replace(short, numbers=short.numbers * factor[:, None, None]), usable, spread


def _named(weights: Floats, names: Sequence[str]) -> dict[str, float]:
    return dict(zip(names, weights.tolist(), strict=True))
