"""Publishing a night: the manifest is there already, then the pointer LATEST.json moves in one step."""

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import replace

from recsys.errors import NewerFormatError
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, Latest, decode_pointer, read_latest, read_pointer
from recsys.storage.manifest import MANIFEST, is_complete, lists_folder, read_manifest
from recsys.storage.runs import RunFolder


def attempts(run: RunFolder) -> Iterator[RunFolder]:
    """The run itself, and its names with `-2`, `-3` … by which `--force` repeats it, without end."""
    yield run
    for number in itertools.count(2):
        yield RunFolder(run.storage, f"{run.run_id}-{number}")


def last_published(run: RunFolder) -> Latest | None:
    """What was published last of a run and of its repetitions by `--force`; None if nothing was.

    A name that retention keeps, since its model is needed, is passed over.

    Raises:
        InputError: it was published and its manifest has been changed since.
    """
    last = None
    for attempt in attempts(run):
        if is_complete(attempt):
            last = published(run.storage, attempt.run_id) or last
        elif not run.storage.exists(deletion_mark(attempt)):
            return last
    raise AssertionError("there is no end of names")


def publish(run: RunFolder, manifest_sha256: str, model_id: str, allow_older: bool = False) -> bool:
    """Point LATEST at the run in one step, and return whether LATEST points there now.

    A night that is older than the one LATEST names is published for the history of nights, but LATEST stays as it is,
    unless `allow_older`. Call `lease.check()` just before.

    Raises:
        InputError: the manifest is missing or is not the one of `manifest_sha256`, or LATEST is damaged.
    """
    storage = run.storage
    latest = Latest(
        run_id=run.run_id,
        run_date=run.date,
        path=lists_folder(run),
        model_id=model_id,
        published_at=dt.datetime.now(dt.UTC).isoformat(),
        manifest_sha256=manifest_sha256,
    )
    read_manifest(storage, latest)
    moves = _move_latest(storage, latest, allow_older)
    storage.write_bytes(receipt_path(run), latest.to_bytes())
    return moves


def _move_latest(storage: Storage, latest: Latest, allow_older: bool) -> bool:
    """Point LATEST at a night, unless it names a later one; returns whether it points there.

    Another night may move LATEST between the look at it and the write: then the write fails, and the new one counts.
    """
    while True:
        try:
            content = storage.read_bytes(LATEST)
        except FileNotFoundError:
            content = None
        if content is not None and (current := _pointed(content, storage, allow_older)) is not None:
            if _agree(current, latest):
                return True
            if current.run_date > latest.run_date and not allow_older and not _of_one_run(current, latest):
                return False
        if storage.swap_bytes(LATEST, latest.to_bytes(), content):
            return True


def _pointed(content: bytes, storage: Storage, allow_older: bool) -> Latest | None:
    """What LATEST names; None where a newer release wrote it and `allow_older` moves it back all the same."""
    try:
        return decode_pointer(content, storage, LATEST)
    except NewerFormatError:
        if allow_older:
            return None
        raise


def lost_pointer(run: RunFolder) -> Latest | None:
    """Where LATEST should point: None, unless it is missing, or is of this published run and not as it was written.

    Raises:
        InputError: LATEST cannot be decoded, or the run's manifest has been changed since.
    """
    current, receipt = read_latest(run.storage), published(run.storage, run.run_id)
    if receipt is None or current is None:
        return receipt
    return receipt if _of_one_run(current, receipt) and not _agree(current, receipt) else None


def _of_one_run(one: Latest, other: Latest) -> bool:
    return one.run_id == other.run_id or one.path == other.path


def _agree(one: Latest, other: Latest) -> bool:
    """Whether two pointers lead to the same files, whenever these were published."""
    return replace(one, published_at=other.published_at) == other


def published(storage: Storage, run_id: str) -> Latest | None:
    """What was published of a run, whether or not it is the latest; None if it is not published completely.

    Raises:
        InputError: it was published and its manifest has been changed since.
    """
    pointer = pointer_to(RunFolder(storage, run_id))
    if pointer is None or not storage.exists(f"{pointer.path}/{MANIFEST}"):
        return None
    read_manifest(storage, pointer)
    return pointer


def pointer_to(run: RunFolder) -> Latest | None:
    """Where a run was published, without a look at its manifest; None if it was not.

    Raises:
        InputError: LATEST or the receipt of the run is damaged.
    """
    if (receipt := read_pointer(run.storage, receipt_path(run))) is not None:
        return receipt
    # The receipt is written after the pointer: a night that stopped between the two is published.
    latest = read_latest(run.storage)
    return latest if latest is not None and latest.run_id == run.run_id else None


def receipt_path(run: RunFolder) -> str:
    """The file that says a run is published; it has the form of the pointer."""
    return f"{run.dir}/published.json"


def deletion_mark(run: RunFolder) -> str:
    """A file that says that the deletion of the run was begun: it is written first and deleted last."""
    return f"{run.dir}/deleting.json"
