"""Fetches the small files of a task before they are read: an object store answers many requests at a time."""

import io
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recsys.data.read_tasks import ReadTask

#: Requests at a time.
_NUM_REQUESTS = 16
#: Fetched files that wait to be read, beside those that are being fetched.
_MOST_WAITING = 16

#: Opens a file.
Opener = Callable[[], IO[bytes]]


@contextmanager
def read_ahead(fs: fsspec.AbstractFileSystem, task: ReadTask) -> Iterator[Mapping[str, Opener]]:
    """Openers of the task's files, to be called in their order; none where reading ahead has no use.

    Files of this machine are opened at once, and one file alone has nothing beside which it could be fetched. An opener
    raises the error of its request.
    """
    if len(task.files) < 2 or isinstance(fs, LocalFileSystem):
        yield {}
        return
    threads = ThreadPoolExecutor(_NUM_REQUESTS, thread_name_prefix="read-ahead")
    waiting: deque[Future[bytes]] = deque()
    paths = iter(task.files)

    def fetch_more() -> None:
        while len(waiting) < _NUM_REQUESTS + _MOST_WAITING and (path := next(paths, None)) is not None:
            waiting.append(threads.submit(fs.cat_file, path))

    def open_next() -> IO[bytes]:
        fetch_more()
        return io.BytesIO(waiting.popleft().result())

    try:
        yield dict.fromkeys(task.files, open_next)
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
