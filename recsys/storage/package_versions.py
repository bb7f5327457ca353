"""Versions of the packages that can change a list."""

import importlib.metadata
import platform

_PACKAGES = (
    "recsys", "ray", "torch", "transformers", "tokenizers", "safetensors", "deepspeed", "peft",
    "numpy", "pandas", "pyarrow", "pydantic", "fsspec", "s3fs",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a list, if they are installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
