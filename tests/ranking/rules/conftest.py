"""A rule of a plugin, registered for one test or one module and forgotten afterwards."""

import contextlib
import sys
from collections.abc import Iterator

import pytest

from recsys.plugins import load_plugins
from recsys.ranking.rules.registry import RULES

PLUGIN = "tests.plugins.max_per_category"


@contextlib.contextmanager
def registered() -> Iterator[str]:
    """Name a module whose rule is registered within the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RULES, "_things", dict(RULES._things))
        patch.delitem(sys.modules, PLUGIN, raising=False)
        load_plugins([PLUGIN])
        yield PLUGIN
        sys.modules.pop(PLUGIN, None)


@pytest.fixture
def plugin() -> Iterator[str]:
    """Such a module, for a test."""
    with registered() as name:
        yield name


@pytest.fixture(scope="module")
def plugin_of_module() -> Iterator[str]:
    """Such a module, for all tests of a file."""
    with registered() as name:
        yield name
