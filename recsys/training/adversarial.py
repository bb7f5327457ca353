"""Adversarial perturbation of token embeddings, the fast gradient method (FGM): Miyato et al., 2017.

Shapes: B windows, L history length, D item dimensions.
"""

import torch
from torch import Tensor


class FastGradient:
    """Keeps the tokens of a plain pass, and perturbs the tokens of the next pass along their gradient."""

    def __init__(self, epsilon: float) -> None:
        """``epsilon`` is the length of the perturbation of a whole window; 0 disables it."""
        self.epsilon = epsilon
        self._tokens: Tensor | None = None

    def keep(self, tokens: Tensor) -> Tensor:
        """The tokens [B, L, D] of a plain pass, unchanged. Its backward pass leaves their gradient for `perturb`."""
        if tokens.requires_grad:
            tokens.retain_grad()
        self._tokens = tokens
        return tokens

    def perturb(self, tokens: Tensor) -> Tensor:
        """Tokens [B, L, D] + ε · g / |g|, where g is the gradient of a window's tokens in the plain pass before."""
        assert self._tokens is not None, "a perturbed pass must come after the backward pass of a plain one"
        assert self._tokens.grad is not None, "a perturbed pass must come after the backward pass of a plain one"
        gradient, self._tokens = self._tokens.grad.float(), None
        norm: Tensor = gradient.flatten(1).norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
        return tokens + (self.epsilon * gradient / norm[:, None, None]).to(tokens.dtype)
