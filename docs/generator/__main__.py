"""Writes the pages of docs/reference out of the code: `make docs` calls it, a test checks that they are up to date."""

import sys
from pathlib import Path

import backends_page
import config_page
import metrics_page
import rules_page
import signals_page
import stages_page
import tables_page

REFERENCE = Path(__file__).parents[1] / "reference"


def pages() -> dict[Path, str]:
    """The text of every generated page by its path."""
    makers = {
        "config": config_page.page,
        "tables": tables_page.page,
        "stages": stages_page.page,
        "signals": signals_page.page,
        "rules": rules_page.page,
        "metrics": metrics_page.page,
        "back-ends": backends_page.page,
    }
    note = "<!-- `make docs` writes this page out of the code. Do not edit it here. -->\n\n"
    return {REFERENCE / f"{name}.md": note + make() for name, make in makers.items()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.name}: written\n")
