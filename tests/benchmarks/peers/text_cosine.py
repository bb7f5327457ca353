"""Cosine of texts: the mean vector of the history's texts and that of an item, by sentence-transformers.

The folder of the text model is in the environment variable TEXT_MODEL.
"""

import os

import numpy as np
import torch
from case_files import Recommend, Task, main, top_of
from scipy.sparse import csr_matrix
from sentence_transformers import SentenceTransformer

BLOCK = 2048


def cosine(task: Task) -> Recommend:
    """The items whose texts are most similar to those of the history."""
    model = SentenceTransformer(os.environ["TEXT_MODEL"], device="cpu")
    texts = task.titles[:100] if task.quick else task.titles
    vectors = np.zeros((task.num_items, model.get_embedding_dimension()), dtype=np.float32)
    vectors[: len(texts)] = model.encode(
        texts.tolist(), batch_size=64, normalize_embeddings=True, show_progress_bar=False
    )
    seen = csr_matrix(
        (np.ones(len(task.users), np.float32), (task.users, task.items)), shape=(task.num_users, task.num_items)
    )
    means = seen @ vectors

    def recommend(exclude_seen: bool) -> np.ndarray:
        lists = []
        for start in range(0, task.num_users, BLOCK):
            scores = means[start : start + BLOCK] @ vectors.T
            if exclude_seen:
                scores[seen[start : start + BLOCK].nonzero()] = -np.inf
            lists.append(top_of(scores, task.top_k))
        return np.concatenate(lists)

    return recommend


if __name__ == "__main__":
    torch.set_num_threads(2)
    main({"cosine": cosine})
