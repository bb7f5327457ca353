"""A night without processes of Ray: its tasks run in the driver, one after the other, when they are started.

What a night writes, and the order of its commits, are the same; a start takes a second instead of ten. So a fault at
each of some hundred steps can be tried. Other rows of the table run on a real Ray.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import ray

from recsys.pipeline.workers import cluster


@dataclass(eq=False)  # references can be keys
class _Result:
    """What `ray.put` and a task answer."""

    value: Any


@dataclass
class _Task:
    """`ray.remote(function)`."""

    function: Callable[..., Any]

    def options(self, **_: Any) -> "_Task":
        return self

    def remote(self, *arguments: Any) -> Any:
        done = self.function(*(each.value if isinstance(each, _Result) else each for each in arguments))
        return [_Result(each) for each in done] if isinstance(done, tuple) else _Result(done)


def run_in_driver() -> None:
    """Let this process need no Ray for the stages of a small night."""
    cluster.cluster = _no_cluster


@contextmanager
def _no_cluster(min_cpus: int) -> Iterator[None]:
    functions = {
        "remote": _Task,
        "put": _Result,
        "get": lambda asked: [each.value for each in asked] if isinstance(asked, list) else asked.value,
        "wait": lambda asked, num_returns=1, **_: (asked[:num_returns], asked[num_returns:]),
        "cancel": lambda _: None,
        "nodes": lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}],
        "cluster_resources": lambda: {"CPU": 2.0},
    }
    with patch.multiple(ray, **functions):
        yield
