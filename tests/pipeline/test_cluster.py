"""How many CPUs the stages take where nobody says."""

from pathlib import Path
from typing import Any

import joblib
import pytest
import ray

from recsys.pipeline.cluster import cpus_for_each
from recsys.pipeline.cpu_needs import min_cpus
from recsys.settings import decode_config
from tests.conftest import tiny_config


def nodes(*cpus: float, dead: float | None = None) -> list[dict[str, Any]]:
    """As `ray.nodes` answers them."""
    alive = [{"Alive": True, "Resources": {"CPU": number} if number else {}} for number in cpus]
    return alive if dead is None else [*alive, {"Alive": False, "Resources": {"CPU": dead}}]


@pytest.mark.parametrize(
    ("cluster", "num_workers", "expected"),
    [
        (nodes(16.0), 1, 15),
        (nodes(16.0), 2, 7),
        (nodes(16.0, 16.0, 4.0), 2, 15),
        (nodes(16.0, 16.0), 3, 7),
        (nodes(2.0), 4, 1),
        (nodes(1.0), 1, 1),
        (nodes(0.0), 1, 1),  # a head that only starts others
        (nodes(4.0, dead=64.0), 1, 3),
    ],
)
def test_training_workers_share_the_largest_nodes(
    monkeypatch: pytest.MonkeyPatch, cluster: list[dict[str, Any]], num_workers: int, expected: int
) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: cluster)
    assert cpus_for_each(num_workers) == expected


def test_a_cluster_that_runs_has_room_for_the_workers(ray_cluster: None) -> None:
    total = ray.cluster_resources()["CPU"]
    for num_workers in (1, 2, 3):
        assert 1 <= cpus_for_each(num_workers) * num_workers <= max(total - 1, num_workers)


@pytest.mark.parametrize(
    ("train", "recommend", "expected"),
    [
        ({}, {}, 5),  # four to train with and one to feed them
        ({"num_workers": 3}, {}, 4),
        ({"cpus_per_worker": 2}, {}, 3),
        ({"use_gpu": True}, {}, 2),
        ({"use_gpu": True}, {"num_workers": 3, "cpus_per_worker": 2}, 6),
    ],
)
def test_a_night_asks_for_what_its_widest_stage_needs(
    tmp_path: Path,
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    train: dict[str, Any],
    recommend: dict[str, Any],
    expected: int,
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    training = {"cpus_per_worker": None, "batch_size": 30} | train
    config = decode_config(tiny_config(shop, tmp_path, train=training, recommend=recommend))
    assert min_cpus(config) == expected
