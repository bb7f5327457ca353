"""EASE (Steck, WWW 2019) for catalogs of 20,000 items: in single precision, in place, and with lists made in blocks.

ease           Σ over the history of B, with the L2 of `recency_models.py`
ease-recency   the same with an item's weight decay^k, k events ago; the L2 and the decay are chosen by NDCG@10 of the
               users' last known item, which the fit for this leaves out
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from case_files import Recommend, Task, main, top_of
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

L2 = 300.0
#: What `ease-recency` chooses from.
L2_GRID, DECAYS = (100.0, 300.0), (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
BLOCK = 2048


def item_weights(seen: csr_matrix, l2: float) -> np.ndarray:
    """[I, I] float32 B of EASE: −P / diag(P) with P = (XᵀX + l2 · 1)⁻¹, and 0 on the diagonal."""
    gram = np.asfortranarray((seen.T @ seen).toarray().astype(np.float32))
    gram[np.diag_indices_from(gram)] += l2
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    assert not failed, f"the matrix with l2 {l2} is not positive definite"
    inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    assert not failed
    for start in range(0, len(inverse), BLOCK):  # the lower half is known; it is mirrored in blocks
        block = slice(start, start + BLOCK)
        inverse[block, block] = np.tril(inverse[block, block]) + np.tril(inverse[block, block], -1).T
        inverse[block, start + BLOCK :] = inverse[start + BLOCK :, block].T
    inverse /= -np.diag(inverse).copy()
    inverse[np.diag_indices_from(inverse)] = 0
    return inverse


def history_rows(task: Task, decay: float) -> csr_matrix:
    """[U, I] decay^k for an item that the user last had k events ago."""
    frame = task.frame().drop_duplicates(["user_id", "item_id"], keep="last")
    weights = decay ** frame.groupby("user_id").cumcount(ascending=False).to_numpy()
    shape = (task.num_users, task.num_items)
    return csr_matrix((weights.astype(np.float32), (frame.user_id, frame.item_id)), shape=shape)


def scored(rows: csr_matrix, matrix: np.ndarray, seen: csr_matrix | None) -> Iterator[tuple[slice, np.ndarray]]:
    """Scores [block of users, I], −inf for what was seen."""
    for start in range(0, rows.shape[0], BLOCK):
        block = slice(start, start + BLOCK)
        scores = rows[block] @ matrix
        if seen is not None:
            scores[seen[block].nonzero()] = -np.inf
        yield block, scores


def chosen(task: Task) -> tuple[float, float]:
    """L2 and decay with the best NDCG@10 of the last known item of each user."""
    held = (task.frame().groupby("user_id").cumcount(ascending=False) == 0).to_numpy()
    past = replace(task, users=task.users[~held], items=task.items[~held], days=task.days[~held])
    wanted = np.full(task.num_users, -1)
    wanted[task.users[held]] = task.items[held]
    seen, rows = history_rows(past, 1.0), {decay: history_rows(past, decay) for decay in DECAYS}
    found = {}
    for l2 in L2_GRID:
        matrix = item_weights(seen, l2)
        for decay in DECAYS:
            places = []
            for block, scores in scored(rows[decay], matrix, seen):
                own = scores[np.arange(len(scores)), wanted[block]][:, None]
                places.append((scores > own).sum(axis=1) + (~np.isfinite(own[:, 0])) * scores.shape[1])
            place = np.concatenate(places)
            found[l2, decay] = float(np.where(place < 10, 1 / np.log2(place + 2), 0).mean())
            print(f"l2 {l2:g}, decay {decay:g}: validation NDCG@10 {found[l2, decay]:.4f}")  # noqa: T201
    return max(found, key=lambda settings: found[settings])


def fitted(task: Task, l2: float, decay: float) -> Recommend:
    """EASE with these settings."""
    seen, rows = history_rows(task, 1.0), history_rows(task, decay)
    matrix = item_weights(seen, l2)

    def recommend(exclude_seen: bool) -> np.ndarray:
        blocks = scored(rows, matrix, seen if exclude_seen else None)
        return np.concatenate([top_of(scores, task.top_k) for _, scores in blocks])

    return recommend


def ease(task: Task) -> Recommend:
    return fitted(task, L2, 1.0)


def ease_recency(task: Task) -> Recommend:
    return fitted(task, L2, 1.0) if task.quick else fitted(task, *chosen(task))


if __name__ == "__main__":
    main({"ease": ease, "ease-recency": ease_recency})
