"""Directions of vectors, and inner products of users with some items, without torch.

Shapes: B users, C candidates, D dimensions, I items, N vectors.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def unit_rows(vectors: npt.NDArray[np.floating]) -> Floats:
    """[N, D] vectors of length 1, or 0 where a vector is 0."""
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors / norms, dtype=np.float32)


def inner_products(users: Floats, vectors: Floats, items: Ints) -> Floats:
    """[B, C] products of each user [B, D] with some rows [B, C] of vectors [I, D].

    Nothing of the size B × C × D is made; a product does not depend on the other users and items.
    """
    products = np.empty(items.shape, dtype=np.float32)
    _multiply(np.ascontiguousarray(users), np.ascontiguousarray(vectors), np.ascontiguousarray(items), products)
    return products


def row_products(rows: Floats, matrix: Floats) -> Floats:
    """[N, K] products of rows [N, D] and a matrix [D, K]; a row's products do not depend on the other rows.

    BLAS takes other kernels for other numbers of rows, so the last bits of its products depend on them.
    """
    products = np.zeros((len(rows), matrix.shape[1]), dtype=np.float32)
    _multiply_rows(np.ascontiguousarray(rows), np.ascontiguousarray(matrix), products)
    return products


@compiled
def _multiply_rows(rows: Floats, matrix: Floats, products: Floats) -> None:
    for row in range(len(rows)):
        for place in range(matrix.shape[0]):
            factor = rows[row, place]
            for column in range(matrix.shape[1]):
                products[row, column] += factor * matrix[place, column]


@compiled
def _multiply(users: Floats, vectors: Floats, items: Ints, products: Floats) -> None:
    num_users, width = items.shape
    for row in range(num_users):
        user = users[row]
        for column in range(width):
            vector = vectors[items[row, column]]
            product = np.float32(0)
            for place in range(len(user)):
                product += user[place] * vector[place]
            products[row, column] = product
