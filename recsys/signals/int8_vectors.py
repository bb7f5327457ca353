"""Vectors of eight-bit integers: a quarter of the memory of float32, and products whose error has a known bound.

A vector i is stored as i ≈ centre + steps · q with integers q of −127 to 127; a user u is read as u · steps ≈ σ p with
integers p. The products p·q order the items almost as u·i does: u·centre is the same for all items of a user, and

    |(u·i − u·centre) / σ − p·q| ≤ |r| |q| + |u| |e| / σ,

where r is what rounding leaves of the user, (u · steps) / σ − p, and e what it leaves of the item (Cauchy–Schwarz).

Shapes: B users, I items, D dimensions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: The largest integer; −128 is left out, so that both signs reach as far.
_MOST = 127
#: Numbers that are rounded at once: temporary copies stay small beside the vectors.
_CELLS = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Vectors:
    """Rounded vectors of some items."""

    numbers: Tensor
    """[I, D] int8."""
    centre: Tensor
    """[D] float32 middle of the vectors' range in each dimension."""
    steps: Tensor
    """[D] float32 what one counts in each dimension."""
    longest: float
    """Length of the longest row of `numbers`."""
    error: float
    """Largest distance between a vector and its rounded copy."""

    @classmethod
    def of(cls, vectors: Tensor) -> "Int8Vectors":
        """Round [I, D] float32 vectors, I > 0."""
        least, most = vectors.amin(0), vectors.amax(0)
        centre, steps = (most + least) / 2, (most - least) / (2 * _MOST)
        inverse = torch.where(steps > 0, 1 / steps, 0)
        numbers = torch.empty(vectors.shape, dtype=torch.int8)
        error = longest = 0.0
        at_a_time = max(_CELLS // max(vectors.shape[1], 1), 1)
        for rows, target in zip(torch.split(vectors, at_a_time), torch.split(numbers, at_a_time), strict=True):
            around = rows - centre
            rounded = (around * inverse).round_().clamp_(-_MOST, _MOST)
            target.copy_(rounded)
            longest = max(longest, _greatest_length(rounded))
            error = max(error, _greatest_length(around - rounded * steps))
        return cls(numbers=numbers, centre=centre, steps=steps, longest=longest, error=error)

    def read(self, users: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Round [B, D] float32 users.

        Returns:
            [B, D] int8 users; [B, 1] σ, what one of a product p·q counts; and [B, 1] float64, how far p·q can be from
            the exact product less u·centre, in units of σ: NaN or infinite where a user has no direction.
        """
        weighted = users.double() * self.steps
        unit = weighted.abs().amax(1, keepdim=True) / _MOST
        exact = weighted / unit
        rounded = exact.round()
        left = torch.linalg.vector_norm(exact - rounded, dim=1, keepdim=True)
        lengths = torch.linalg.vector_norm(users.double(), dim=1, keepdim=True)
        return rounded.nan_to_num().to(torch.int8), unit, left * self.longest + lengths * self.error / unit


def multiplies_int8(device: torch.device) -> bool:
    """Whether a CPU has instructions for int8 products (VNNI), which then take half the time of bfloat16.

    Older instructions saturate in between, so products would be wrong.
    """
    on_cpu = device.type == "cpu" and torch._C._has_mkldnn
    return on_cpu and bool(torch.cpu.get_capabilities().get("avx512_vnni"))


def _greatest_length(rows: Tensor) -> float:
    return float(torch.linalg.vector_norm(rows, dim=1).amax())
