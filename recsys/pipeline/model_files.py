"""The files of a night's models in its manifest. They are compared with it before a published model is loaded.

The manifest has the hashes of the small files. One of these has the hashes of the weights, see
`recsys.model.file_hashes`, which are compared when the weights are loaded.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from recsys.errors import InputError
from recsys.model.checkpoint import FUSION_FILE, TREES_FILE
from recsys.model.file_hashes import HASHES_FILE
from recsys.pipeline.run import Run
from recsys.storage.filesystem import Storage

_FILES = ("model.json", HASHES_FILE, FUSION_FILE, TREES_FILE)


def hash_model_files(run: Run) -> dict[str, str]:
    """sha256 of the small files of the run's models, by their paths below `models/`."""
    models = dict.fromkeys((run.model_id, run.published_id))
    paths = [f"{model}/{name}" for model in models for name in _FILES]
    return {path: _sha256(run.storage, path) for path in paths if run.storage.exists(f"models/{path}")}


def verify_model_files(storage: Storage, manifest: Mapping[str, Any]) -> None:
    """Compare the small files of a night's models with its manifest; an older manifest does not list them.

    Raises:
        InputError: a file is missing, or is not the one that was published.
    """
    for path, expected in manifest.get("model_files", {}).items():
        url = storage.url("models", path)
        try:
            found = _sha256(storage, path)
        except FileNotFoundError as error:
            raise InputError(f"{url}: is missing; restore it, or publish the night again with --force") from error
        if found != expected:
            raise InputError(
                f"{url}: sha256 is {found}, published was {expected}; restore it, or publish the night again "
                "with --force"
            )


def _sha256(storage: Storage, path: str) -> str:
    return hashlib.sha256(storage.read_bytes(f"models/{path}")).hexdigest()
