"""Stops a process at a step of its work on a storage."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recsys.storage.filesystem import Storage


class Interrupted(BaseException):
    """As a kill: nothing handles it."""


@contextlib.contextmanager
def stopped_at(step: int, stop: Callable[[], None]) -> Iterator[list[str]]:
    """Stop before the step of this number and, for odd numbers, after one: of all that changes the storage."""
    taken: list[str] = []

    def watch(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(self: Storage, *arguments: Any) -> Any:
            at_step = len(taken) == step // 2
            taken.append(f"{name} {arguments[0]}")
            if at_step and step % 2 == 0:
                stop()
            result = method(self, *arguments)
            if at_step:
                stop()
            return result

        return watched

    with pytest.MonkeyPatch.context() as patch:
        for name in ("swap_bytes", "delete", "delete_files", "new_file"):
            patch.setattr(Storage, name, watch(name, getattr(Storage, name)))
        yield taken


def raise_interrupted() -> None:
    raise Interrupted
