"""Imports of stages' modules in a thread: torch and transformers are imported while Ray starts and workers read."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

#: The modules that a thread imports, or has imported.
_begun: dict[str, Future[ModuleType]] = {}


@contextmanager
def imports_ahead(modules: Iterable[str]) -> Iterator[None]:
    """Import modules in a thread, one after the other. At the end, imports that have not begun are dropped."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imports-ahead")
    _begun.update({module: executor.submit(import_module, module) for module in dict.fromkeys(modules)})
    try:
        yield
    finally:
        executor.shutdown(cancel_futures=True)
        _begun.clear()


def imported(module: str) -> ModuleType:
    """A module: the thread's, where it imports this one, else imported now.

    Raises:
        ImportError: as the import raised it.
    """
    ahead = _begun.get(module)
    return import_module(module) if ahead is None else ahead.result()
