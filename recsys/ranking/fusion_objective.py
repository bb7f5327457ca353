"""The objectives by which weights are fitted: the likelihood of what was taken, its NDCG, and a temperature.

The likelihood is a conditional logit (McFadden, 1974): P(c | user) ∝ exp(Σ wᵢ · sᵢ(c)) over the user's candidates, the
listwise objective of ListNet with the taken items as truth (Cao et al., ICML 2007). Of many taken items most cannot be
foreseen, and fitting these hides the others. So a user's likelihood is the power mean of the P of the taken items,
which is nearer to the most likely of them than ListNet's geometric mean.

Shapes: B users, C candidates, S numbers of all signals.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar

from recsys.compiled import compiled_in_order
from recsys.ranking.approx_ndcg import approx_ndcg
from recsys.ranking.choices import CUT, Choices
from recsys.ranking.fusion import Bools, Signals

Floats = npt.NDArray[np.float64]

#: A number that spreads no further is the same for all candidates.
CONSTANT = 1e-6
#: Decimals of weights and temperatures.
DIGITS = 6
#: Weights of numbers that spread further than this have more decimals: they are small.
WIDE = 1e3
#: Bounds of the temperature t; 1 + s · t stays above 0.
_TEMPERATURES = (-1.0, 100.0)


def fit_likelihood(
    choices: Choices,
    usable: Bools,
    start: Floats,
    ridge: float,
    spread: Floats,
    before: npt.NDArray[np.floating] | None = None,
    power: float = 0.0,
) -> Floats:
    """[S] weights that maximise the likelihood of what was taken, rounded; each user counts the same.

    Args:
        choices: Of users who each took something.
        usable: [S] numbers that may have a weight.
        start: [S] weights to start from.
        ridge: L2 penalty of each standardised weight, in nats of one user.
        spread: [S] of the numbers, by which weights are standardised.
        before: [B, C] scores to which the weighted numbers are added; None: none.
        power: Exponent of the mean over what a user took; 0 is the geometric mean.
    """
    spread = np.maximum(spread, CONSTANT)
    scaled: Signals = np.asarray(choices.numbers / spread.astype(np.float32))
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
        gradient = weighted_sums(error, scaled) + 2 * ridge * weights
        return float(loss), gradient

    return _minimise(objective, start * spread, usable, spread)


def fit_ndcg(choices: Choices, usable: Bools, ridge: float, spread: Floats, before: npt.NDArray[np.floating]) -> Floats:
    """[S] what to add to weights to maximise a smooth NDCG, rounded; the maximum found may be one of several.

    Args:
        choices: Of users who each took something.
        usable: [S] numbers to whose weights something may be added.
        ridge: L2 penalty of each standardised weight, in NDCG of one user.
        spread: [S] of the numbers, by which weights are standardised.
        before: [B, C] scores to which the weighted numbers are added.
    """
    spread = np.maximum(spread, CONSTANT)
    scaled: Signals = np.asarray(choices.numbers / spread.astype(np.float32))

    def objective(weights: Floats) -> tuple[float, Floats]:
        scores = (before + scaled @ weights.astype(np.float32)).astype(np.float64)
        values, slopes = approx_ndcg(scores, choices.taken, CUT)
        gradient = weighted_sums(slopes, scaled) / len(scaled)
        return ridge * float(weights @ weights) - float(values.mean()), 2 * ridge * weights - gradient

    return _minimise(objective, np.zeros(len(spread)), usable, spread)


def weighted_sums(factors: npt.NDArray[np.floating], numbers: Signals) -> Floats:
    """[S] Σ factor · number over all candidates, in float64: factors [B, C], numbers [B, C, S].

    It is `einsum("bc,bcs->s")` to the last bit, in a fifth of its time.
    """
    sums = np.zeros(numbers.shape[2])
    _add_products(np.ascontiguousarray(factors, dtype=np.float64), np.ascontiguousarray(numbers), sums)
    return sums


@compiled_in_order
def _add_products(factors: Floats, numbers: Signals, sums: Floats) -> None:
    for user in range(numbers.shape[0]):
        for candidate in range(numbers.shape[1]):
            factor = factors[user, candidate]
            for signal in range(numbers.shape[2]):
                sums[signal] += factor * np.float64(numbers[user, candidate, signal])


def _minimise(
    objective: Callable[[Floats], tuple[float, Floats]], start: Floats, usable: Bools, spread: Floats
) -> Floats:
    """[S] rounded weights that minimise an objective of the standardised weights [S]."""
    bounds = [(None, None) if free else (0.0, 0.0) for free in usable]
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return rounded(found.x / spread, spread)


def rounded(weights: Floats, spread: Floats) -> Floats:
    """[S] the weights with `DIGITS` decimals; a number that spreads widely [S] has them in units of its spread."""
    unit = np.where(spread > WIDE, 10 ** np.floor(np.log10(np.maximum(spread, 1.0))), 1.0)
    return np.asarray(np.round(weights * unit, DIGITS) / unit)


def fit_temperature(
    scores: npt.NDArray[np.floating], taken: Bools, factor: npt.NDArray[np.floating], penalty: float = 0.0
) -> float:
    """The temperature t that maximises the likelihood of what was taken, for scores [B, C] / (1 + factor [B] · t).

    The penalty, in nats of one user, keeps few users from making scores large.
    """
    scores = scores.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    truth = taken / taken.sum(axis=1, keepdims=True)

    def loss(temperature: float) -> float:
        logits = scores / (1 + factor[:, None] * temperature)
        total = np.log(np.exp(logits).sum(axis=1))
        mean = float((total - (truth * np.where(taken, logits, 0.0)).sum(axis=1)).mean())
        return mean + penalty / (1 + temperature) ** 2

    return float(minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded").x)
