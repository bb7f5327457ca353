"""Files besides its tables that a published night needs: to be served, to be measured, and to be continued.

The manifest lists them, so that a rollback finds out before it moves LATEST whether the night is whole.
"""

import logging
import posixpath
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from typing import Any

from recsys.errors import InputError
from recsys.pipeline.publishing.run_references import arm_models
from recsys.pipeline.stages import PUBLISH_LISTS
from recsys.storage.filesystem import Storage
from recsys.storage.latest import Latest
from recsys.storage.manifest import NeededFile, read_manifest, verify
from recsys.storage.runs import RunFolder
from recsys.storage.tables import iter_batches

logger = logging.getLogger(__name__)

#: Of the files of a run's folder: what the live service and `jobs/evaluate.py` read. Part records are not needed.
_OF_RUN = (
    *("config.yaml", "*.txt", "catalog.parquet", "title_priors.parquet", "item_counts_*.parquet"),
    *("stages/*.json", "profiles/*"),
)
_OF_RUN_FOLDERS = ("text_vectors", "user_text_vectors", "signals", "donors")
#: It is written beside a model after the night is published, and again by hand.
_CARD = "README.md"
#: What no model can do without; of a night without a list of needed files.
_OF_MODEL = ("model.json", "ranker.safetensors", "vocabulary.parquet", "fusion.json")
_BATCH_ROWS = 65_536
_NUM_READERS = 4


def needed_files(run: RunFolder) -> list[NeededFile]:
    """The files as they are now, sorted; with the sha256 of those that carry no checksums, unlike Parquet."""
    storage = run.storage
    models = sorted({*run.model_ids, *arm_models(run)})
    folders = [*(f"models/{model}" for model in models), run.histories_dir, run.dir]
    sizes = {
        f"{folder}/{name}": size
        for folder in folders
        for name, size in storage.sizes(folder, recursive=True).items()
        if (name != _CARD if folder != run.dir else _is_needed(name))
    }
    with ThreadPoolExecutor(_NUM_READERS) as readers:
        hashes = readers.map(lambda path: "" if path.endswith(".parquet") else storage.sha256(path), sizes)
        return [
            NeededFile(path=path, bytes=size, sha256=sha256)
            for (path, size), sha256 in sorted(zip(sizes.items(), hashes, strict=True))
        ]


def _is_needed(name: str) -> bool:
    if name == f"stages/{PUBLISH_LISTS.name}.json":
        return False  # it is written after the manifest, and again where a lost manifest is
    folder, _, last = name.partition("/")
    patterns = [pattern for pattern in _OF_RUN if pattern.count("/") == name.count("/")]
    return (folder in _OF_RUN_FOLDERS and bool(last)) or any(fnmatch(name, pattern) for pattern in patterns)


def verify_night(storage: Storage, pointer: Latest) -> None:
    """Read every file of a published night, and compare it with the manifest.

    Raises:
        InputError: a file is missing or damaged; the message names it.
    """
    manifest = read_manifest(storage, pointer)
    verify(storage, manifest)
    needed: list[NeededFile] = manifest.get("needs") or _by_listing(storage, pointer, manifest)
    sizes: dict[str, int] = {}
    for folder in sorted({posixpath.dirname(file["path"]) for file in needed}):
        sizes |= {f"{folder}/{name}": size for name, size in storage.sizes(folder).items()}
    for file in needed:
        if (found := sizes.get(file["path"])) != file["bytes"]:
            state = "is missing" if found is None else f"has {found} bytes, the night has {file['bytes']}"
            raise InputError(f"{storage.url(file['path'])}: {state}; restore it, or choose another night")
    with ThreadPoolExecutor(_NUM_READERS) as readers:
        list(readers.map(lambda file: _verify_content(storage, file), needed))


def _verify_content(storage: Storage, file: NeededFile) -> None:
    if file["path"].endswith(".parquet"):
        for _ in iter_batches(storage, file["path"], _BATCH_ROWS):
            pass
    elif file["sha256"] and (found := storage.sha256(file["path"])) != file["sha256"]:
        raise InputError(
            f"{storage.url(file['path'])}: sha256 is {found}, the night has {file['sha256']}; restore it, or choose "
            f"another night"
        )


def _by_listing(storage: Storage, pointer: Latest, manifest: Mapping[str, Any]) -> list[NeededFile]:
    """Of a night of an older version, whose manifest does not list them: what every night has, and what is there."""
    run = RunFolder(storage, pointer.run_id)
    logger.warning("%s: its manifest does not list what it needs: what is there is read", run.run_id)
    there = {file["path"]: file for file in needed_files(run)}
    for path in _indispensable(run, pointer, manifest):
        there.setdefault(path, NeededFile(path=path, bytes=-1, sha256=""))
    return list(there.values())


def _indispensable(run: RunFolder, pointer: Latest, manifest: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{run.dir}/{name}" for name in ("config.yaml", "catalog.parquet"))
    yield from (f"{run.histories_dir}/{shard['name']}" for shard in manifest["shards"])
    yield from (f"models/{pointer.model_id}/{name}" for name in _OF_MODEL)
