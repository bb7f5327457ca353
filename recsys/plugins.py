"""A user's own signals, rules, metrics and input formats: modules that register them when they are imported."""

import importlib
from collections.abc import Iterable

from recsys.errors import ConfigError


def load_plugins(modules: Iterable[str]) -> None:
    """Import each module; a module that was imported before stays as it is.

    Every process that uses a registry calls this first, so that workers know what the driver knows.

    Raises:
        ConfigError: a module cannot be imported.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"plugins: {name} cannot be imported ({error}); install it, or put it on PYTHONPATH or into the "
                f"working directory of the job"
            ) from error
