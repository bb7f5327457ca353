"""Compiled loops over the states of a decoder on a CPU: norms, rotary positions and the last query's attention.

Each makes one pass over numbers that are in the cache; the general code makes about a dozen. Heads are rows of whole
arrays with an index, because numba vectorises only those.

Shapes: B users, L history length, N = B · L tokens, H hidden size, Q heads of queries, K of keys, E head size.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@compiled
def norm(states: Floats, weight: Floats, epsilon: np.float32, out: Floats) -> None:
    """RMS norm of states [N, H] into ``out`` (Zhang & Sennrich, NeurIPS 2019)."""
    num, size = states.shape
    for row in range(num):
        square = np.float32(0)
        for place in range(size):
            square += states[row, place] * states[row, place]
        scale = np.float32(1) / np.sqrt(square / np.float32(size) + epsilon)
        for place in range(size):
            out[row, place] = states[row, place] * scale * weight[place]


@compiled
def norm_and_rotate(
    own: Floats, first: int, weight: Floats, epsilon: np.float32, cos: Floats, sin: Floats, places: Ints, out: Floats
) -> None:
    """RMS norm of some heads, then their rotary positions (Su et al., 2021).

    Args:
        own: [N, ≥ first + Q, E] projected heads; those from ``first`` on are read.
        first: See ``own``.
        weight: [E] of the norm.
        epsilon: Of the norm.
        cos: [L, E] of the rotations.
        sin: [L, E].
        places: [N] position of each token.
        out: [N, Q, E] the result.
    """
    num, heads, size = out.shape
    half = size // 2
    low_weight, high_weight = weight[:half], weight[half:]
    for row in range(num):
        low_cos, high_cos = cos[places[row], :half], cos[places[row], half:]
        low_sin, high_sin = sin[places[row], :half], sin[places[row], half:]
        for head in range(heads):
            low, high = own[row, first + head, :half], own[row, first + head, half:]
            low_out, high_out = out[row, head, :half], out[row, head, half:]
            square = np.float32(0)
            for place in range(half):
                square += low[place] * low[place] + high[place] * high[place]
            scale = np.float32(1) / np.sqrt(square / np.float32(size) + epsilon)
            for place in range(half):
                one, other = low[place] * scale * low_weight[place], high[place] * scale * high_weight[place]
                low_out[place] = one * low_cos[place] - other * low_sin[place]
                high_out[place] = other * high_cos[place] + one * high_sin[place]


@compiled
def attend_last(queries: Floats, keys: Floats, own: Floats, counts: Ints, added: Floats, out: Floats) -> None:
    """Attention of one query of each user over the keys of the user's tokens.

    Args:
        queries: [B, Q, E].
        keys: [B · L, K, E].
        own: [B · L, ≥ K, E] projected heads; the last K of them are the values.
        counts: [B] number of tokens of each user.
        added: [B, Q, L] added to the logits; [0, 0, 0]: nothing is.
        out: [B, Q, E] the result.
    """
    num_users, heads, size = queries.shape
    length, shared, before = len(keys) // num_users, heads // keys.shape[1], own.shape[1] - keys.shape[1]
    scale = np.float32(1) / np.sqrt(np.float32(size))
    weights = np.empty(length, dtype=np.float32)
    for user in range(num_users):
        first, count = user * length, counts[user]
        for head in range(heads):
            query, answer = queries[user, head], out[user, head]
            most = np.float32(-np.inf)
            for place in range(count):
                key = keys[first + place, head // shared]
                product = np.float32(0)
                for part in range(size):
                    product += query[part] * key[part]
                weights[place] = product * scale
                if len(added):
                    weights[place] += added[user, head, place]
                most = max(most, weights[place])
            total = np.float32(0)
            answer[:] = 0
            for place in range(count):
                weight = np.exp(weights[place] - most)
                total += weight
                value = own[first + place, before + head // shared]
                for part in range(size):
                    answer[part] += weight * value[part]
            for part in range(size):
                answer[part] /= total
