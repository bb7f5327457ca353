"""The pointer LATEST.json, by which readers find the published lists."""

import dataclasses
import datetime as dt

from recsys.errors import ConfigError, InputError
from recsys.storage.filesystem import Storage
from recsys.storage.json_files import WAY_OUT, to_json
from recsys.storage.record_kinds import POINTER

LATEST = "recommendations/LATEST.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The pointer that readers follow; `path` is the night's folder, relative to the storage root."""

    run_id: str
    run_date: dt.date
    path: str
    model_id: str
    published_at: str
    manifest_sha256: str

    def to_bytes(self) -> bytes:
        """The file that has this pointer."""
        plain = {**dataclasses.asdict(self), "run_date": self.run_date.isoformat()}
        return to_json(POINTER.stamp(plain))


def read_latest(storage: Storage) -> Latest | None:
    """The published night, or None if nothing was published yet.

    Raises:
        InputError: the pointer is damaged.
    """
    return read_pointer(storage, LATEST)


def require_latest(storage: Storage) -> Latest:
    """`read_latest`, for callers that cannot go on without it.

    Raises:
        InputError: nothing is published, or the pointer is damaged.
    """
    latest = read_latest(storage)
    if latest is None:
        raise InputError(f"{storage.root}: nothing is published there yet; run jobs/nightly.py with the same config")
    return latest


def read_pointer(storage: Storage, path: str) -> Latest | None:
    """A file that has the form of the pointer, or None where it is missing.

    Raises:
        InputError: it is damaged.
    """
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError:
        return None
    return decode_pointer(data, storage, path)


def decode_pointer(data: bytes, storage: Storage, path: str) -> Latest:
    """The content of a file that has the form of the pointer.

    Raises:
        InputError: it is damaged.
        NewerFormatError: a newer release wrote it.
    """
    record = POINTER.decode(data, storage.url(path))
    names = [field.name for field in dataclasses.fields(Latest)]
    if wrong := [name for name in names if not isinstance(record.get(name), str)]:
        raise InputError(f"{storage.url(path)}: {wrong[0]} is missing or no text; {WAY_OUT}")
    try:
        storage.url(record["path"])
        return Latest(
            **{**{name: record[name] for name in names}, "run_date": dt.date.fromisoformat(record["run_date"])}
        )
    except (ValueError, ConfigError) as error:
        raise InputError(f"{storage.url(path)}: run_date or path is wrong ({error}); {WAY_OUT}") from error
