"""LensKit's batch runner on Ray, with the fastest of its scorers."""

import itertools
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lenskit.parallel.ray
import numpy as np
from case_files import read_task
from lenskit import batch
from lenskit.als import ImplicitMFScorer
from lenskit.basic import PopScorer
from lenskit.knn import EASEScorer, ItemKNNScorer
from lenskit.parallel.ray import init_cluster
from lenskit_models import dataset_of, pipeline_of
from stopwatch import THREADS, Work, compete

SAMPLE = 400


def batched(values: Iterable[Any], number: int) -> Iterator[tuple[Any, ...]]:
    """`itertools.batched` of Python 3.12, which LensKit's Ray runner needs, for 3.11."""
    iterator = iter(values)
    while batch_of := tuple(itertools.islice(iterator, number)):
        yield batch_of


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    if not hasattr(itertools, "batched"):
        itertools.batched = batched  # type: ignore[attr-defined]
        lenskit.parallel.ray.ray_supported = lambda: True
    facts = json.loads((folder / "facts.json").read_text())
    task = read_task(folder, seed=0, top_k=facts["top_k"], quick=False)
    dataset, users = dataset_of(task), np.arange(task.num_users)
    init_cluster(num_cpus=THREADS, proc_slots=THREADS, include_dashboard=False)
    scorers = {
        "popularity": PopScorer(),
        "item kNN": ItemKNNScorer(k=20, feedback="implicit"),
        "ALS": ImplicitMFScorer(embedding_size=64),
        "EASE": EASEScorer(regularization=300),
    }
    pipelines = {name: pipeline_of(scorer, dataset, facts["top_k"], True) for name, scorer in scorers.items()}

    def lists(name: str, whose: np.ndarray) -> float:
        start = time.perf_counter()
        found = batch.recommend(pipelines[name], whose, facts["top_k"], n_jobs="ray")
        assert len(found) == len(whose)
        return time.perf_counter() - start

    lists("popularity", users[:SAMPLE])  # workers start
    rates = {name: round(min(SAMPLE, len(users)) / lists(name, users[:SAMPLE]), 1) for name in pipelines}
    fastest = max(rates, key=lambda name: rates[name])

    def work(number: int) -> int:
        lists(fastest, users)
        return len(users)

    return work, {"scorer": fastest, "users_per_s_of_a_sample": rates}


if __name__ == "__main__":
    compete(prepare)
