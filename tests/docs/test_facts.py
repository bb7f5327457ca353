"""Lists in the pages that must be what the code says."""

import re

from recsys.data.where_syntax import FUNCTIONS
from tests.docs.pages import ROOT


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_page_about_filters_names_every_function() -> None:
    rows = re.findall(r"^\| (`.*) \| (?:functions|tests|values)", page("your-data.md"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert named - {"coalesce"} == FUNCTIONS - {"startswith"}  # `coalesce` is an operator; `startswith` is an alias
