"""Readers that follow LATEST and read whole nights, while something happens to the storage."""

import hashlib
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.manifest import read_manifest
from tests.faults.checks import Hashes
from tests.faults.findings import LostError, MixtureError

NUM_READERS = 4
#: Seconds between two looks at LATEST.
_PAUSE_S = 0.01

_forks = multiprocessing.get_context("forkserver")


@contextmanager
def readers(root: Path, folder: Path, nights: dict[str, Hashes]) -> Iterator[None]:
    """Four processes read while the block lasts; then each of their readings must be one of these nights, as a whole.

    Args:
        root: Of the storage; a night is published there.
        folder: For what they read.
        nights: The shards of each night by its run id.

    Raises:
        LostError: a reader found no night, or one that is not readable.
        MixtureError: files of two nights, or a file with other content.
    """
    stop = _forks.Event()
    logs = [folder / f"reader-{number}.txt" for number in range(NUM_READERS)]
    processes = [_forks.Process(target=_read, args=(root, log, nights, stop)) for log in logs]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        stop.set()
        for process in processes:
            process.join()
    for log in logs:
        read = log.read_text().splitlines()
        if wrong := [line for line in read if line.startswith("lost")]:
            raise LostError(wrong[0])
        if wrong := [line for line in read if line.startswith("mixture")]:
            raise MixtureError(wrong[0])
        assert read, f"{log}: nothing was read"


def _read(root: Path, log: Path, nights: dict[str, Hashes], stop: Any) -> None:
    storage = Storage(str(root))
    with log.open("a") as stream:
        while True:
            stream.write(f"{_reading(storage, nights)}\n")
            if stop.wait(_PAUSE_S):
                return


def _reading(storage: Storage, nights: dict[str, Hashes]) -> str:
    """The run that was read; or `lost` or `mixture`, and why."""
    try:
        latest = require_latest(storage)
        names = [shard["name"] for shard in read_manifest(storage, latest)["shards"]]
        found = {name: storage.read_bytes(f"{latest.path}/{name}") for name in names}
    except Exception as error:  # noqa: BLE001 (whatever a reader meets is a finding)
        return f"lost: {type(error).__name__}: {error}"
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    return latest.run_id if hashes == nights[latest.run_id] else f"mixture: {latest.run_id} has {hashes}"
