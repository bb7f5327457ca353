"""The pages that people read, and the code blocks in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: README.md and every page of the site, as they are written.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: str
    """Path of the page, below the root of the repository."""
    line: int
    """Line of its first line of code."""
    language: str
    title: str
    """Name of the file that the block is, where the page says one; else empty."""
    text: str

    def __str__(self) -> str:
        """The place, as test ids and error messages name it."""
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    """All blocks of a language, in the order of the pages."""
    return [block for block in _all_blocks() if block.language == language]


def _all_blocks() -> list[Block]:
    return [
        Block(
            page=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, found.start()) + 2,
            language=found["language"],
            title=found["title"] or "",
            text=found["text"],
        )
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for found in _BLOCK.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))
