"""SIGKILL to a process that does a part of a stage, at a random moment. Ray starts the part again elsewhere."""

import contextlib
import datetime as dt
from random import Random
from typing import Any

import psutil

from tests.faults.checks import Hashes, check_output, check_published, hashes_of
from tests.faults.findings import MissedError
from tests.faults.night import Night
from tests.faults.shop import TWO_RANKS, Attempt, Shop

#: Seconds of a worker's task after which it is killed, at most. On a slow machine a task takes longer.
MOMENT_S = 1.0


def kill_scoring_worker(shop: Shop, number: int) -> None:
    """While it writes lists."""
    attempt = shop.attempt("scoring", shop.stopped_before("recommend/shard-00000.json"))
    _kill(attempt, number, ("ray::recommend",), shop.expected)


def kill_encode_worker(shop: Shop, number: int) -> None:
    """While it trains the text encoder, or encodes: this is the first night of a storage."""
    attempt = shop.attempt("encode")
    yesterday = (shop.today - dt.timedelta(days=1)).isoformat()
    _kill(attempt, number, ("ray::_pretrain", "ray::encode"), hashes_of(shop.night_before.root), "--date", yesterday)


def kill_trainer(shop: Shop, number: int) -> None:
    """While it trains the ranker, in one task."""
    attempt = shop.attempt("train", shop.stopped_before("finetune/start.json"))
    _kill(attempt, number, ("ray::train",), shop.expected)


def kill_trainer_rank(shop: Shop, number: int) -> None:
    """While it trains the ranker together with another one, through Ray Train and DeepSpeed."""
    attempt = shop.attempt("rank", shop.night_before)
    _kill(attempt, number, ("ray::RayTrainWorker",), shop.expected_of_two_ranks, train=TWO_RANKS)


def _kill(
    attempt: Attempt, number: int, titles: tuple[str, ...], expected: Hashes, *options: str, **sections: Any
) -> None:
    random = Random(number)  # noqa: S311
    night = attempt.on_ray(*options, **sections)
    worker = wait_for_worker(night, titles[number % len(titles)])
    night.process.join(random.uniform(0.0, MOMENT_S))
    worker.kill()
    check_output(night, 0)
    check_published(attempt.root, expected=expected)


def wait_for_worker(night: Night, title: str) -> psutil.Process:
    """The first worker whose title begins so; it is that of its task or actor.

    Only processes that this one has started are looked at.

    Raises:
        MissedError: the night ended before any was seen: nothing was injected.
    """
    while night.process.is_alive():
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has ended
                if "".join(process.cmdline()[:1]).startswith(title):
                    return process
        night.process.join(0.05)  # shorter than the task, whose worker imports the libraries first
    check_output(night, 0)
    raise MissedError(f"no worker {title} was seen:\n{night.said}")
