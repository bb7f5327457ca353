"""What retention would delete now: runs that no rule keeps, and vectors and written texts that no kept run reads."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recsys.errors import InputError
from recsys.pipeline.publishing.run_references import References, references
from recsys.storage.config import RetentionConfig
from recsys.storage.filesystem import Storage
from recsys.storage.latest import LATEST, Latest, read_latest, read_pointer
from recsys.storage.lease import last_seen, lock_generation
from recsys.storage.manifest import MANIFEST, table_folder
from recsys.storage.nights import published_runs
from recsys.storage.publish import deletion_mark, receipt_path
from recsys.storage.read_together import read_together
from recsys.storage.record_kinds import RUN_START
from recsys.storage.retention import StoredRun, kept_runs
from recsys.storage.runs import RunFolder, run_folders

#: Tables of a night that go with it. Its figures (`metrics`) stay: they are few, and trends are read over all nights.
TABLES = ("recommendations", "similar_items", "item_report")
#: Where the vectors of texts are, by encoder.
STORE = "items"
#: Where written texts are, by who wrote them.
TEXT_STORE = "written_texts"


@dataclass(frozen=True, kw_only=True)
class DeletedRun:
    """A run that no rule keeps."""

    run: RunFolder
    begun: bool
    """Whether an earlier retention withdrew it already."""
    generation: int
    """Of the last lease of its date: a later one means that somebody has worked on the date since."""
    folders: tuple[str, ...]
    """Of its tables and histories; its own folder comes after them."""
    models: tuple[str, ...]
    """Folders of its models that go with it."""
    shared: tuple[str, ...]
    """Folders of its models that a kept run needs: they stay, and the run's mark with them."""
    bytes: int


@dataclass(frozen=True, kw_only=True)
class RetentionPlan:
    """What stays and what goes."""

    latest: Latest | None
    kept: Mapping[str, str]
    """Run id → why it stays."""
    runs: tuple[DeletedRun, ...]
    """Oldest date first; of a date the repetitions by `--force` first, since a night answers by them."""
    stores: Mapping[str, int]
    """Folders of vectors and of written texts that go → bytes."""

    @property
    def bytes(self) -> int:
        """What it frees."""
        return sum(run.bytes for run in self.runs) + sum(self.stores.values())


def plan_retention(
    storage: Storage, settings: RetentionConfig, now: dt.datetime | None = None, in_use: Iterable[str] = ()
) -> RetentionPlan:
    """Look at all runs of a storage, and at what the kept ones need.

    Args:
        storage: The root.
        settings: The rules.
        now: Instead of the time now.
        in_use: Ids of runs that stay whatever the rules say.

    Raises:
        InputError: LATEST, a receipt, a config or a card of a model is damaged, or the manifest of a published run is
            missing: then nobody can tell what is needed.
    """
    latest = read_latest(storage)
    pointers = {pointer.run_id: pointer for pointer in published_runs(storage)}
    if latest is not None and latest.run_id not in pointers:
        raise _lost_manifest(storage, latest, LATEST, "point LATEST to another night by jobs/publish.py --to RUN_ID")
    folders = {run.run_id: run for run in run_folders(storage)}
    runs = read_together(lambda run: _stored(run, pointers.get(run.run_id), latest), folders.values())
    kept = kept_runs(runs, latest.run_id if latest else None, settings, now or dt.datetime.now(dt.UTC))
    kept |= dict.fromkeys(in_use, "in use")
    named = [pointers[run_id].model_id for run_id in kept if run_id in pointers]
    needed = references([folders[run_id] for run_id in kept], [*named, *([latest.model_id] if latest else [])])
    gone = sorted((run for run in folders.values() if run.run_id not in kept), key=lambda run: run.run_id, reverse=True)
    gone.sort(key=lambda run: run.date)
    deleted = read_together(lambda run: _deleted(run, needed), gone)
    return RetentionPlan(
        latest=latest,
        kept=kept,
        runs=tuple(run for run in deleted if run.bytes or not run.shared),
        stores=_unread_stores(storage, needed, kept) if settings.is_on else {},
    )


def run_size(run: RunFolder) -> int:
    """Bytes of a run and of its own models, without vectors that other runs share."""
    models = [f"models/{model}" for model in run.model_ids]
    return sum(_size(run.storage, folder) for folder in (*_places(run), *models, run.dir))


def _stored(run: RunFolder, pointer: Latest | None, latest: Latest | None) -> StoredRun:
    if pointer is None:
        half_deleted = run.storage.exists(deletion_mark(run))
        receipt = receipt_path(run)
        if not half_deleted and (published := read_pointer(run.storage, receipt)) is not None:
            raise _lost_manifest(run.storage, published, receipt, "delete that file, if its lists are not needed")
        return StoredRun(run_id=run.run_id, date=run.date, active_at=_active_at(run), half_deleted=half_deleted)
    times = [dt.datetime.fromisoformat(pointer.published_at)]
    if latest is not None and latest.run_id == run.run_id:  # a job may have died between LATEST and the receipt
        times.append(dt.datetime.fromisoformat(latest.published_at))
    return StoredRun(run_id=run.run_id, date=run.date, published_at=max(times))


def _lost_manifest(storage: Storage, run: Latest, witness: str, way_out: str) -> InputError:
    """The error for a published run whose manifest was not found: it is no unfinished run, which may be deleted."""
    return InputError(
        f"{storage.url(run.path)}/{MANIFEST}: is missing, and {storage.url(witness)} says that run {run.run_id} is "
        f"published, so no night is deleted; start the night of {run.run_date} again, which writes its manifest again, "
        f"or {way_out}"
    )


def _active_at(run: RunFolder) -> dt.datetime | None:
    """When the run was started last, or when somebody held its lock last."""
    start = run.read_record(run.start_path, RUN_START) or {}
    started = [dt.datetime.fromisoformat(start["started_at"])] if isinstance(start.get("started_at"), str) else []
    seen = [time for name in (run.date.isoformat(), run.run_id) if (time := last_seen(run, name)) is not None]
    return max([*started, *seen], default=None)


def _places(run: RunFolder) -> list[str]:
    return [*(table_folder(run, table) for table in TABLES), run.histories_dir]


def _deleted(run: RunFolder, needed: References) -> DeletedRun:
    sizes = {f"models/{model}": _size(run.storage, f"models/{model}") for model in run.model_ids}
    shared = tuple(f"models/{model}" for model in run.model_ids if model in needed.models)
    models = tuple(folder for folder in sizes if folder not in shared)
    own = run.storage.sizes(run.dir, recursive=True)
    mark = own.pop(deletion_mark(run).removeprefix(f"{run.dir}/"), None)
    return DeletedRun(
        run=run,
        begun=mark is not None,
        generation=lock_generation(run, run.date.isoformat()),
        folders=tuple(_places(run)),
        models=models,
        shared=tuple(folder for folder in shared if sizes[folder]),
        bytes=sum(own.values()) + sum(_size(run.storage, folder) for folder in (*_places(run), *models)),
    )


def _unread_stores(storage: Storage, needed: References, kept: Iterable[str]) -> dict[str, int]:
    """Stores that no kept run reads, and to which none writes: names of their files begin with the id of the writer."""
    working = tuple(f"{run_id}-" for run_id in kept)
    found = {}
    for store, read in ((STORE, needed.encoders), (TEXT_STORE, needed.writers)):
        for digest in storage.folders(store):
            if digest not in read and re.fullmatch(r"[0-9a-f]{64}", digest):
                sizes = storage.sizes(f"{store}/{digest}")
                if sizes and not any(name.startswith(working) for name in sizes):
                    found[f"{store}/{digest}"] = sum(sizes.values())
    return found


def _size(storage: Storage, folder: str) -> int:
    return sum(storage.sizes(folder, recursive=True).values())
