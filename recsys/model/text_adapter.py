"""From text vectors to item vectors: centre, whiten, then a linear layer that is trained.

Sentence vectors of one catalog have much in common: their mean is long, and a few directions hold most of what differs.
A linear layer learns these directions first and the fine differences late. Whitened vectors give it all directions at
once (WhitenRec, Zhang et al., arXiv 2402.10602).

Shapes: R texts, T text dimensions, D item dimensions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Added to each variance, as a share of the mean variance. Directions with less than that are mostly noise.
SHRINKAGE = 1.0


class TextAdapter(nn.Linear):
    """A linear layer over whitened text vectors. It takes raw ones: items, searches and profiles all pass it.

    The mean and the matrix are saved with the weights. They belong together: the layer is trained for this matrix.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, text_dim: int, item_dim: int) -> None:
        """Before `fit`, the vectors are taken as they are."""
        super().__init__(text_dim, item_dim)
        self.register_buffer("mean", torch.zeros(text_dim))
        self.register_buffer("whitening", torch.eye(text_dim))

    def fit(self, vectors: Tensor) -> None:
        """Take the mean and the whitening matrix of these text vectors [R, T] without those that are 0: no texts."""
        has_text = vectors.any(dim=1)
        if not has_text.any():
            return
        mean, whitening = fit_whitening(vectors if has_text.all() else vectors[has_text])
        self.mean.copy_(mean)
        self.whitening.copy_(whitening)

    def forward(self, vectors: Tensor) -> Tensor:
        """[R, D] of raw text vectors [R, T]; a layer in half precision is multiplied with the matrix in float32."""
        # T × T × D once, where whitening the vectors would take R × T × T
        weight = self.weight.float() @ self.whitening.float()
        bias = self.bias.float() - weight @ self.mean.float()
        return F.linear(vectors, weight.to(self.weight.dtype), bias.to(self.weight.dtype))


def fit_whitening(vectors: Tensor, shrinkage: float = SHRINKAGE) -> tuple[Tensor, Tensor]:
    """The mean [T] and the matrix W [T, T] of text vectors [R, T]; (x − mean) W is white, of mean square length 1.

    W = (C + s · tr(C)/T · 1)^(−1/2), scaled, for the covariance C. It is symmetric, so it does not depend on the signs
    of eigenvectors. If all texts are the same, W is the unit matrix.

    Args:
        vectors: Of all texts of a catalog.
        shrinkage: s ≥ 0.
    """
    mean = vectors.double().mean(dim=0)
    centred = vectors - mean.to(vectors.dtype)
    covariance = (centred.T @ centred).double() / len(vectors)
    variance, directions = torch.linalg.eigh(covariance)
    variance = variance.clamp(min=0.0)
    if variance.mean() < torch.finfo(torch.float32).eps:
        return mean.to(vectors.dtype), torch.eye(vectors.shape[1], dtype=vectors.dtype)
    factors = (variance + shrinkage * variance.mean()).clamp(min=1e-12).rsqrt()
    factors /= (variance * factors.square()).sum().sqrt()
    return mean.to(vectors.dtype), (directions * factors @ directions.T).to(vectors.dtype)
