"""A user's own signals, rules, metrics and input formats: modules that register them when they are imported."""

import importlib
import traceback
from collections.abc import Iterable

from recsys.errors import ConfigError


def load_plugins(modules: Iterable[str]) -> None:
    """Import each module; a module that was imported before stays as it is.

    Every process that uses a registry calls this first, so that workers know what the driver knows.

    Raises:
        ConfigError: a module is not found, or fails while it is imported.
    """
    for name in modules:
        if "/" in name or name.startswith(".") or name.endswith(".py"):
            raise ConfigError(
                f"plugins: {name} is no name of a module: write my_shop.signals for the file my_shop/signals.py"
            )
        try:
            importlib.import_module(name)
        except ConfigError:
            raise
        except ImportError as error:
            raise ConfigError(
                f"plugins: {name} cannot be imported ({error}); install it, or put it on PYTHONPATH or into the "
                f"working directory of the job"
            ) from error
        except Exception as error:
            raise ConfigError(f"plugins: {name} fails while it is imported: {_with_place(error)}") from error


def _with_place(error: Exception) -> str:
    """An error in words, with the file and line that raised it; a syntax error names its own."""
    shown = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return shown
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{shown} ({place.filename}, line {place.lineno})"
