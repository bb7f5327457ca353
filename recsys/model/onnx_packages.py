"""Whether the packages of the extra `onnx` are installed. They are not imported, and neither is torch."""

import importlib.util
from collections.abc import Sequence

from recsys.errors import ConfigError

#: Packages that run an exported encoder, and packages that export one.
RUN_PACKAGES = ("onnxruntime",)
EXPORT_PACKAGES = ("onnxruntime", "onnx", "onnxscript")


def require_packages(names: Sequence[str]) -> None:
    """Refuse to go on without these packages.

    Raises:
        ConfigError: one of them is not installed.
    """
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"encoder.engine=onnx: {', '.join(missing)} is not installed: pip install 'recsys[onnx]', or set engine to "
            f"torch"
        )
