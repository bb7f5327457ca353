"""Logarithms of softmaxes over candidates, in float64. Shapes: B users, C candidates."""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """[B, C] log P of logits [B, C], −inf for none."""
    exact = np.asarray(logits, dtype=np.float64)
    peak, log_total = _peak_and_log_total(exact)
    return np.asarray(exact - peak - log_total, dtype=np.float32)


def log_sum(logits: Doubles) -> Doubles:
    """[B, 1] log Σ exp of logits [B, C], −inf for none; very small where a user has none."""
    peak, log_total = _peak_and_log_total(logits)
    return peak + log_total


def _peak_and_log_total(logits: Doubles) -> tuple[Doubles, Doubles]:
    """[B, 1] the largest logit, and log Σ exp of the distances from it, which cannot overflow."""
    peak = np.max(logits, axis=1, keepdims=True, initial=-np.inf)
    peak = np.where(np.isfinite(peak), peak, 0)
    return peak, np.log(np.maximum(np.exp(logits - peak).sum(axis=1, keepdims=True), np.finfo(np.float64).tiny))
