"""Whether the storage can be used: read, write, conditional write, free space."""

import uuid

from recsys.pipeline.doctor.check_free_space import free_bytes
from recsys.pipeline.doctor.diagnosis import Diagnosis, diagnose
from recsys.settings import Config
from recsys.storage.filesystem import Storage

#: Less free space than this is a fault, bytes: a night of a small shop needs some hundred MB.
LEAST_FREE = 1 << 30


def diagnose_storage(config: Config) -> list[Diagnosis]:
    """The checks of the storage; the files that they write are deleted."""
    way_out = "check storage, and the rights of this user or role on it"
    return [
        diagnose("storage", lambda: _files(Storage(config.storage)), way_out),
        diagnose("free space", lambda: _space(Storage(config.storage)), way_out),
    ]


def _files(storage: Storage) -> Diagnosis:
    """Write a file, read it, and write another one twice on the condition that it is new; then delete both."""
    plain, once = (f"doctor-{uuid.uuid4().hex}" for _ in range(2))
    content = b"written by jobs/doctor.py"
    try:
        storage.write_bytes(plain, content)
        read = storage.read_bytes(plain) == content
        created = [storage.create_bytes(once, content) for _ in range(2)]
    finally:
        storage.delete(plain)
        storage.delete(once)
    place = storage.url()
    if not read:
        found = f"{place}: a file is not read as it was written"
        return Diagnosis(check="storage", ok=False, found=found, way_out="use a storage with strong consistency")
    if created != [True, False]:
        found = f"{place}: a conditional write does not keep the first file ({created}), so two nights could collide"
        way_out = "use a storage with conditional writes (If-None-Match on S3, hard links on a file system)"
        return Diagnosis(check="storage", ok=False, found=found, way_out=way_out)
    return Diagnosis(check="storage", ok=True, found=f"{place}: read, write, conditional write and delete work")


def _space(storage: Storage) -> Diagnosis:
    if not storage.is_local:
        return Diagnosis(check="free space", ok=True, found=f"{storage.url()}: object storage has no fixed size")
    free = free_bytes(storage.root)
    found = f"{storage.root}: {free / 2**30:,.1f} GiB are free"
    if free < LEAST_FREE:
        way_out = f"make room: a night needs at least {LEAST_FREE >> 30} GiB; --dry-run estimates it for your data"
        return Diagnosis(check="free space", ok=False, found=found, way_out=way_out)
    return Diagnosis(check="free space", ok=True, found=found)
