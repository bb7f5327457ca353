"""The small files of a published night's models: they are compared with its manifest before a model is loaded.

One of these files has the hashes of the weights, see `recsys.model.file_hashes`. They are compared when the weights
are loaded.
"""

from collections.abc import Mapping
from typing import Any

from recsys.model.checkpoint import FUSION_FILE, TREES_FILE
from recsys.model.file_hashes import HASHES_FILE
from recsys.storage.filesystem import Storage
from recsys.storage.manifest import NeededFile, verify_file

_FILES = ("model.json", HASHES_FILE, FUSION_FILE, TREES_FILE)


def verify_model_files(storage: Storage, manifest: Mapping[str, Any]) -> None:
    """Compare the small files of a night's models with its manifest; an older manifest does not list them.

    Raises:
        InputError: a file is missing, or is not the one that was published.
    """
    needs: list[NeededFile] = manifest.get("needs", [])
    for file in needs:
        folder, _, name = file["path"].rpartition("/")
        if name in _FILES and folder.startswith("models/"):
            verify_file(storage, file["path"], file["sha256"])
