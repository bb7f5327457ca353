"""The pages of docs/reference are what the code says now."""

import runpy
from typing import Any

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "generator"))


def test_every_page_is_up_to_date(generator: dict[str, Any]) -> None:
    pages = generator["pages"]()
    assert {path.name for path in (ROOT / "docs" / "reference").iterdir()} == {path.name for path in pages}
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: run `make docs`"


def test_a_key_has_its_default_its_type_and_its_meaning(generator: dict[str, Any]) -> None:
    text = {path.name: text for path, text in generator["pages"]().items()}["config.md"]
    assert "| `recommend.top_k` | `20` | integer ≥ 1, ≤ 10000 | Length of a list. |" in text
    assert "| `inputs.events.path` | required | text | A file, a folder or a glob; local or `s3://`. |" in text
