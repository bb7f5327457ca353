"""Windows are decoded in groups of similar length, so that little padding is read.

Most histories of a shop are much shorter than the longest ones: with 8 events a user and windows of 50 events, five of
six tokens are padding. Padding changes no state before it, so the states are the same.

Shapes: B windows, L history length, D item dimensions.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

#: Groups of a batch, each as long as its longest window: with more of them little padding is saved, and each costs a
#: call of every layer.
NUM_GROUPS = 4
#: A batch of fewer windows for each group is one group.
_LEAST_GROUP = 8
#: Shortest padded length. Compiled code that takes any other length would be compiled again for a length of 1.
_LEAST_LENGTH = 2


def decode_by_length(
    decode: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, gaps: Tensor, lengths: Tensor
) -> Tensor:
    """[B, L, D] the states of ``decode`` at the tokens of each window; those of padding mean nothing.

    Args:
        decode: From tokens [b, l, D] and their time gaps [b, l] to states [b, l, D]; a state depends on no later token
            and on no other window.
        tokens: [B, L, D].
        gaps: [B, L].
        lengths: [B] tokens of each window, the others are padding.
    """
    num_groups = NUM_GROUPS if len(tokens) >= NUM_GROUPS * _LEAST_GROUP else 1
    order = lengths.argsort(stable=True) if num_groups > 1 else torch.arange(len(tokens), device=tokens.device)
    longest = tokens.shape[1]
    states = []
    for rows in order.tensor_split(num_groups):
        length = min(max(int(lengths[rows].max()), _LEAST_LENGTH), longest)
        states.append(F.pad(decode(tokens[rows, :length], gaps[rows, :length]), (0, 0, 0, longest - length)))
    return torch.cat(states)[order.argsort()]
