"""Counts the multiply-adds that a ranker's decoder needs. Measured speed is compared with this count."""

import torch

from recsys.model.ranker import Ranker


def multiply_adds(ranker: Ranker, length: int, candidates: int) -> float:
    """The least number of multiply-adds for one user.

    Each token passes once through the decoder's linear layers. Attention (queries · keys, then weights · values) counts
    the tokens that a token can see: an event sees the events before it and itself, a candidate sees the whole history
    and itself.

    Args:
        ranker: Whose decoder is counted.
        length: Events of the user.
        candidates: Candidates of the user.
    """
    weights = sum(module.weight.numel() for module in ranker.decoder.modules() if isinstance(module, torch.nn.Linear))
    settings = ranker.spec.decoder
    width = settings["num_attention_heads"] * settings["head_dim"] * settings["num_hidden_layers"]
    seen = length * (length + 1) / 2 + candidates * (length + 1)
    return float(weights * (length + candidates) + 2 * width * seen)
