"""Whether the groups of an experiment have the sizes that they should have. If not, something is wrong with the split,
with the lists of one arm, or with the data, and no lift can be believed (Fabijan et al., KDD 2019).

The test may be repeated every day: it is the sequential one of Lindon and Malek, "Anytime-valid inference for
multinomial count data" (NeurIPS 2022). It compares the expected shares with all shares around them, by their
probabilities under a Dirichlet prior.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

#: Below this probability the sizes are called wrong.
ALPHA = 0.01
#: Pseudo-users of the prior: shares that are wrong by some hundredths are found soonest.
_CONCENTRATION = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """The sizes of the groups after the last day."""

    users: list[int]
    expected: list[float]
    """Users that the shares would give."""
    p_value: float
    """Smallest of all days. It stays valid however often one looks."""

    @property
    def mismatch(self) -> bool:
        """Whether the sizes are wrong."""
        return self.p_value < ALPHA


def sample_ratio(users: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> SampleRatio:
    """Test the sizes of G groups after each of D days.

    Args:
        users: [D, G] users so far.
        shares: [G] expected sizes, in any unit.

    >>> sample_ratio(np.array([[480, 520]]), np.array([0.5, 0.5])).mismatch
    False
    >>> sample_ratio(np.array([[4400, 5600]]), np.array([0.5, 0.5])).mismatch
    True
    """
    expected = shares / shares.sum()
    prior = _CONCENTRATION * expected
    totals = users.sum(axis=1)
    log_mixture = gammaln(_CONCENTRATION) - gammaln(_CONCENTRATION + totals)
    log_mixture += (gammaln(prior + users) - gammaln(prior)).sum(axis=1)
    log_odds = log_mixture - (users * np.log(expected)).sum(axis=1)
    return SampleRatio(
        users=users[-1].tolist(),
        expected=(expected * totals[-1]).tolist(),
        p_value=float(np.exp(-max(0.0, log_odds.max()))),
    )
