"""Finds a text encoder's folder: a local one, in an installed package, or on the hub."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from recsys.errors import ConfigError

#: What is downloaded: weights in other formats, and of other frameworks, are not. The README names the licence.
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "README.md"]
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKeys:
    """The config keys that say where a model is, for messages."""

    model: str
    revision: str
    ways: str = "a hub id, a local folder or package://name/folder"
    """What may be given."""


ENCODER_KEYS = ModelKeys(
    model="encoder.model",
    revision="encoder.revision",
    ways="auto, a hub id, a local folder, package://name/folder, storage://warehouse, or null (from scratch)",
)


def resolve_model(spec: str, revision: str | None = None, keys: ModelKeys = ENCODER_KEYS) -> str:
    """Turn the model that a config names into an argument of `from_pretrained`: an absolute local folder, or a hub id.

    A relative folder starts at the working directory. `package://name/folder` is a folder inside of an installed
    package, which is found without an import.

    Raises:
        ConfigError: the package or folder does not exist, or the text cannot be a hub id.
    """
    if spec.startswith("package://"):
        return str(package_folder(spec, keys))
    path = Path(spec).expanduser()
    if path.exists():
        if not path.is_dir():
            raise ConfigError(f"{keys.model}={spec}: is a file, not the folder of a model; give {keys.ways}")
        if revision is not None:
            raise ConfigError(f"{keys.revision}={revision}: has no meaning for the local folder {spec}; set it to null")
        return str(path.absolute())
    if spec.startswith((".", "/", "~")):
        raise ConfigError(f"{keys.model}={spec}: no such folder; give {keys.ways}")
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", spec, re.ASCII):
        raise ConfigError(
            f"{keys.model}={spec}: is not a local folder, and not a hub id like owner/name; give {keys.ways}"
        )
    return spec


def model_folder(spec: str, revision: str | None = None, keys: ModelKeys = ENCODER_KEYS) -> Path:
    """Local folder of a model. A hub model is downloaded, unless the hub's cache holds it.

    Raises:
        ConfigError: as `resolve_model`, or the hub cannot be reached and its cache does not hold the model.
    """
    resolved = resolve_model(spec, revision, keys)
    if Path(resolved).is_dir():
        return Path(resolved)
    if (cached := cached_folder(resolved, revision)) is not None:
        return cached
    from huggingface_hub import snapshot_download

    try:
        snapshot = snapshot_download(resolved, revision=revision, allow_patterns=_FILES)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{keys.model}={spec}: no such local folder, and the hub did not return its revision "
            f"{revision or 'default'}: {error}; give {keys.ways}"
        ) from error
    return Path(snapshot)


def cached_folder(model: str, revision: str | None) -> Path | None:
    """The folder of a commit of a hub model, if the hub's cache on this machine holds it; the network is not asked."""
    if not _COMMIT.fullmatch(revision or ""):
        return None
    from huggingface_hub import snapshot_download  # slow to import, and models in folders do not need it

    try:
        folder = Path(snapshot_download(model, revision=revision, local_files_only=True, allow_patterns=_FILES))
    except (OSError, ValueError):
        return None
    return folder if (folder / "config.json").exists() and any(folder.glob("*.safetensors")) else None


def package_folder(spec: str, keys: ModelKeys = ENCODER_KEYS) -> Path:
    """The folder that `package://name/folder` names, found without an import of the package.

    Raises:
        ConfigError: the package is not installed, or has no such folder.
    """
    package, _, inside = spec.removeprefix("package://").partition("/")
    # only a top-level name: to find a submodule, Python imports its parent
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            f"{keys.model}={spec}: package {package!r} is not installed: pip install {package.replace('_', '-')}; "
            f"else give {keys.ways}"
        )
    for root in found.submodule_search_locations:
        if (folder := Path(root, inside)).is_dir():
            return folder.absolute()
    raise ConfigError(f"{keys.model}={spec}: package {package} has no folder {inside!r}; give {keys.ways}")
