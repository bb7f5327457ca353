"""A small text encoder learns the vectors of a larger one (knowledge distillation, Hinton et al., 2015).

Shapes: N texts, R texts of a step, T dimensions of the teacher's vectors.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.training.trainable_encoder import TrainableEncoder

#: Weight of the squared errors of cosines between texts, beside the distance to the teacher's vector of the same text.
_STRUCTURE = 10.0
#: Words of a part that takes the place of a search, at most.
MOST_WORDS = 8

Floats = npt.NDArray[np.float32]


class Student(TrainableEncoder):
    """The encoder that learns, whose forward pass is the loss of a step or the vectors of some texts."""

    def forward(self, rows: Tensor, teacher: Tensor | None = None) -> Tensor:
        """The loss, or vectors without a teacher.

        Args:
            rows: [R] of the texts of the encoder.
            teacher: [R, T] vectors of length 1 of the same texts.

        Returns:
            Scalar loss, or float32 [R, T] of length 1.
        """
        vectors = self.vectors(rows)
        return vectors if teacher is None else distillation_loss(vectors, teacher)


def distillation_loss(vectors: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cosine to the teacher's vector, and the mean squared error of the cosines between the texts.

    The second part is relational distillation (RKD; Park et al., CVPR 2019): lists depend on how texts are to each
    other.

    Args:
        vectors: [R, T] of length 1.
        teacher: [R, T] of length 1.
    """
    distance = (1 - (vectors * teacher).sum(dim=1)).mean()
    errors = vectors @ vectors.T - teacher @ teacher.T
    num_pairs = max(len(vectors) * (len(vectors) - 1), 1)
    return distance + _STRUCTURE * errors.fill_diagonal_(0).square().sum() / num_pairs


def agreement(vectors: Floats, others: Floats) -> float:
    """How equally two encoders see which texts are similar: the correlation of their cosines between texts, −1 to 1.

    The mean of each encoder's vectors is taken off first: all texts of a shop have it, and lists do not depend on it.

    Args:
        vectors: [N, T], N ≥ 3.
        others: [N, T'] of the same texts; T' may differ from T.
    """
    cosines = []
    for each in (vectors, others):
        centred = F.normalize(torch.from_numpy(each - each.mean(axis=0)), dim=1).numpy()
        cosines.append((centred @ centred.T)[~np.eye(len(each), dtype=bool)])
    if min(float(each.std()) for each in cosines) < np.finfo(np.float32).eps:
        return 0.0  # all texts are the same to one of them
    return float(np.corrcoef(cosines[0], cosines[1])[0, 1])


def fitted_dense(vectors: Floats, teacher: Floats) -> tuple[Tensor, Tensor]:
    """The dense layer that maps vectors best to a teacher's of another width, by least squares; a start for training.

    Args:
        vectors: [N, W].
        teacher: [N, T].

    Returns:
        Weight float32 [T, W] and bias float32 [T].
    """
    mean, target = vectors.mean(axis=0, dtype=np.float64), teacher.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    gram = centred.T @ centred + np.eye(centred.shape[1])  # a little ridge: there may be fewer texts than dimensions
    weight = np.linalg.solve(gram, centred.T @ (teacher - target)).T
    return torch.from_numpy(weight).float(), torch.from_numpy(target - weight @ mean).float()


def like_searches(texts: list[str], seed: int) -> list[str]:
    """A random part of each text, of at most `MOST_WORDS` words: searches are shorter than the texts of a shop."""
    random = np.random.default_rng(seed)
    parts = []
    for text in texts:
        words = text.split()
        length = int(random.integers(1, MOST_WORDS + 1))
        start = int(random.integers(0, max(len(words) - length, 0) + 1))
        parts.append(" ".join(words[start : start + length]))
    return parts
