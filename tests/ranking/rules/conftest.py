"""A rule of a plugin, registered for one test or module and forgotten afterwards."""

import sys
from collections.abc import Iterator

import pytest

from recsys.plugins import load_plugins
from recsys.ranking.rules.registry import RULES

PLUGIN = "tests.plugins.max_per_category"


@pytest.fixture(scope="module")
def plugin() -> Iterator[str]:
    """The name of a module whose rule is registered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RULES, "_things", dict(RULES._things))
        patch.delitem(sys.modules, PLUGIN, raising=False)
        load_plugins([PLUGIN])
        yield PLUGIN
        sys.modules.pop(PLUGIN, None)
