"""The licence of a pretrained model, as the card in its folder says it."""

import re
from pathlib import Path

_LICENCE = re.compile(r"^license:[ \t]*['\"]?([\w.+-]+)['\"]?[ \t]*$", re.MULTILINE)


def licence_in(folder: Path) -> str | None:
    """The licence that ``README.md`` names in the YAML at its beginning, as cards of Hugging Face do; None: unknown."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    head = text.removeprefix("---\n").partition("\n---")[0] if text.startswith("---\n") else ""
    found = _LICENCE.search(head)
    return found[1] if found else None
