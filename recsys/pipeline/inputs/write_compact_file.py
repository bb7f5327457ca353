"""Writes a compact file of feedback, and the table of its sources."""

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from recsys.data.events.feedback import FEEDBACK_DIR
from recsys.data.events.feedback_names import compact_name
from recsys.errors import InputError
from recsys.pipeline.inputs.feedback_index import SOURCES, CompactFile, sources_path
from recsys.storage.filesystem import Storage
from recsys.storage.tables import write_table

#: Sources that are read at a time: an object store answers many requests.
_NUM_REQUESTS = 16


def write_compact_file(
    storage: Storage, day: dt.date, sizes: Mapping[str, int], clock: Callable[[], dt.datetime]
) -> CompactFile | None:
    """Write the whole lines of files of the service, one after the other, as one file; None if there are none.

    The file does not count before the index names it.

    Args:
        storage: The storage.
        day: The day of the files.
        sizes: Their names in their order, and their bytes.
        clock: Gives the time (aware).

    Raises:
        FileNotFoundError: a file is gone.
        InputError: a file has another size.
    """
    texts = list(_texts(storage, sizes))
    if not any(texts):
        return None
    name = compact_name(day, clock(), uuid.uuid4().hex[:12])
    path = f"{FEEDBACK_DIR}/{name}"
    offsets = []
    offset = 0
    with storage.new_file(path) as file, pa.CompressedOutputStream(str(file.path), "zstd") as stream:
        for text in texts:
            offsets.append(offset)
            ended = text if not text or text.endswith(b"\n") else text + b"\n"
            stream.write(ended)
            offset += len(ended)
    columns = list(sizes), list(sizes.values()), offsets, [len(text) for text in texts]
    sources = pa.table(dict(zip(SOURCES.names, columns, strict=True)), schema=SOURCES)
    write_table(storage, sources_path(name), sources, SOURCES)
    return CompactFile(
        name=name, sources=len(sizes), bytes=file.bytes, sha256=file.sha256, committed_at=clock().isoformat()
    )


def _texts(storage: Storage, sizes: Mapping[str, int]) -> Iterator[bytes]:
    """The whole lines of each file."""
    paths = [f"{FEEDBACK_DIR}/{name}" for name in sizes]
    with ThreadPoolExecutor(_NUM_REQUESTS, thread_name_prefix="feedback") as threads:
        for path, size, content in zip(paths, sizes.values(), threads.map(storage.read_bytes, paths), strict=True):
            if len(content) != size:
                raise InputError(f"{storage.url(path)}: was changed after its day was over")
            yield _whole_lines(content)


def _whole_lines(text: bytes) -> bytes:
    """The text without a line at its end that was cut off by a kill: its event was never acknowledged."""
    end = text.rfind(b"\n") + 1
    return text if end == len(text) or _is_object(text[end:]) else text[:end]


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
