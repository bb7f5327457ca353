"""Which layers a smaller text encoder keeps: those without which the similarities of texts change least."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.model.text_encoder import TextEncoder
from recsys.model.transformer_layers import num_layers, only_layers
from recsys.training.distill import agreement


def choose_layers(
    encoder: TextEncoder, texts: Sequence[str], wanted: npt.NDArray[np.float32], num: int, batch_size: int = 128
) -> list[int]:
    """Leave out one layer after the other, each time the one without which most is kept (backward elimination).

    Of L layers this tries about (L² − num²) / 2 models, none of which learns.

    Args:
        encoder: In fp32; it stays as it is.
        texts: [N] that the student does not learn from.
        wanted: [N, T] the vectors that the student is to learn.
        num: Layers to keep, at least 1 and at most as many as there are.
        batch_size: Texts of a forward pass.

    Returns:
        Numbers of the layers, ascending, from 0.
    """
    kept = list(range(num_layers(encoder.model)))
    assert 1 <= num <= len(kept), num
    while len(kept) > num:
        tries = [[layer for layer in kept if layer != left_out] for left_out in kept]
        scores = []
        for layers in tries:
            with only_layers(encoder.model, layers):
                scores.append(agreement(encoder.encode(texts, batch_size), wanted))
        kept = tries[int(np.argmax(scores))]
    return kept
