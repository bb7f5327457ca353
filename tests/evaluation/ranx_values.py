"""Values of the library ranx for some lists: `python tests/evaluation/ranx_values.py` writes them again.

They are kept in a file, since ranx compiles for half a minute.
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_suffix(".json")
CUTOFFS = (1, 3, 10, 30)
#: Our name of a metric → that of ranx.
NAMES = {"ndcg": "ndcg", "recall": "recall", "hitrate": "hit_rate", "mrr": "mrr"}


def lists() -> tuple[list[list[int]], list[list[int]]]:
    """Lists and relevant items of 100 users."""
    random = np.random.default_rng(0)
    recommended = [random.permutation(60)[: random.integers(1, 25)].tolist() for _ in range(100)]
    return recommended, [random.permutation(60)[: random.integers(1, 15)].tolist() for _ in range(100)]


def main() -> None:
    """Ask ranx."""
    import ranx

    recommended, relevant = lists()
    qrels = ranx.Qrels({f"q{u:03}": {f"d{i}": 1 for i in row} for u, row in enumerate(relevant)})
    run = ranx.Run({f"q{u:03}": {f"d{i}": 1 / (r + 1) for r, i in enumerate(row)} for u, row in enumerate(recommended)})
    theirs = [f"{name}@{k}" for name in NAMES.values() for k in CUTOFFS]
    scores = ranx.evaluate(qrels, run, theirs, return_mean=False)
    values = {
        f"{name}@{k}": [round(float(value), 10) for value in scores[f"{other}@{k}"]]
        for name, other in NAMES.items()
        for k in CUTOFFS
    }
    PATH.write_text(
        "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in values.items()) + "\n}\n"
    )


if __name__ == "__main__":
    main()
