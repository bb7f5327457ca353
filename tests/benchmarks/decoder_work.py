"""How much a ranker's decoder has to do, however it does it: what speed is held against."""

import torch

from recsys.model.ranker import Ranker


def multiply_adds(ranker: Ranker, length: int, candidates: int) -> float:
    """What a user with so many events and candidates needs at least.

    Weights of the decoder's linear layers once a token; queries · keys and attention · values for what each token may
    see: its past for an event, the whole history and itself for a candidate.
    """
    weights = sum(module.weight.numel() for module in ranker.decoder.modules() if isinstance(module, torch.nn.Linear))
    settings = ranker.spec.decoder
    width = settings["num_attention_heads"] * settings["head_dim"] * settings["num_hidden_layers"]
    seen = length * (length + 1) / 2 + candidates * (length + 1)
    return float(weights * (length + candidates) + 2 * width * seen)
