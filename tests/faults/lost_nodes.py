"""A machine of the cluster is lost while it does a part of a stage; another one joins."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from ray.cluster_utils import Cluster

from tests.faults.checks import check_output, check_published
from tests.faults.shop import Shop
from tests.faults.workers_killed import MOMENT_S, wait_for_worker


def lose_scoring_node(shop: Shop, number: int) -> None:
    """While one of its workers writes lists."""
    _lose_node(shop, number, "recommend/shard-00000.json", "ray::recommend")


def lose_training_node(shop: Shop, number: int) -> None:
    """While one of its workers trains the ranker."""
    _lose_node(shop, number, "finetune/start.json", "ray::train")


def _lose_node(shop: Shop, number: int, path: str, title: str) -> None:
    random = Random(number)  # noqa: S311
    attempt = shop.attempt("node", shop.stopped_before(path))
    with _cluster() as cluster:
        night = attempt.on_ray(environment={"RAY_ADDRESS": cluster.address})
        worker = wait_for_worker(night, title)
        raylets = {parent.pid for parent in worker.parents()}
        (node,) = (each for each in cluster.worker_nodes if _raylet(each) in raylets)
        night.process.join(random.uniform(0.0, MOMENT_S))
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=2)
        check_output(night, 0)
    check_published(attempt.root, expected=shop.expected)


@contextmanager
def _cluster() -> Iterator[Any]:
    """A head that does no work, and two machines. Another Ray of this machine may have the port of the dashboard."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        yield cluster
    finally:
        cluster.shutdown()


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)
