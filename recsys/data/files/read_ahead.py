"""Fetches small files before they are read: an object store answers many requests at a time."""

import io
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from typing import IO, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recsys.data.files.read_tasks import ReadTask

#: Requests at a time.
_NUM_REQUESTS = 16
#: Fetched files that wait to be read, beside those that are being fetched.
_MOST_WAITING = 16

#: Opens a file.
Opener = Callable[[], IO[bytes]]
T = TypeVar("T")
R = TypeVar("R")


def fetch_ahead(
    fetch: Callable[[T], R], items: Iterable[T], *, num_requests: int, most: int, name: str
) -> Generator[Future[R]]:
    """What `fetch` gives for each item, in their order. Close the generator to cancel what is not begun.

    Args:
        fetch: Called in threads.
        items: What to fetch.
        num_requests: Calls at a time.
        most: Items that are being fetched, or wait to be taken.
        name: Of the threads.
    """
    threads = ThreadPoolExecutor(num_requests, thread_name_prefix=name)
    rest, waiting = iter(items), deque[Future[R]]()
    try:
        while True:
            waiting.extend(threads.submit(fetch, item) for item in islice(rest, most - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


@contextmanager
def read_ahead(fs: fsspec.AbstractFileSystem, task: ReadTask) -> Iterator[Mapping[str, Opener]]:
    """Openers of the task's files, to be called in their order; none where reading ahead has no use.

    Files of this machine are opened at once, and one file alone has nothing beside which it could be fetched. An opener
    raises the error of its request.
    """
    if len(task.files) < 2 or isinstance(fs, LocalFileSystem):
        yield {}
        return
    most = _NUM_REQUESTS + _MOST_WAITING
    fetched = fetch_ahead(fs.cat_file, task.files, num_requests=_NUM_REQUESTS, most=most, name="read-ahead")
    with closing(fetched):
        yield dict.fromkeys(task.files, lambda: io.BytesIO(next(fetched).result()))
