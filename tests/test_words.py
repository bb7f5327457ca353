"""Plain English: words that send a reader back to the start of the sentence are not used."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = (
    "anew",
    "alike",
    "likest",
    "foremost",
    "hangs on",
    "told from",
    "of whom",
    "whoever",
    "in the midst of",
    "of which no two",
    "is made of",
    "what is more",
    "speaks for",
    "told apart",
    "likelier",
    "likeliest",
    # names that the code had for things: cold items, donors, cold-start imputation, excluded items, sessions
    "stranger",
    "strangers",
    "newcomer",
    "newcomers",
    "lender",
    "lenders",
    "borrow",
    "borrows",
    "borrowed",
    "barred",
    "visit",
    "visits",
)
#: Between two words of a phrase: also a line break, with what begins a line of a comment.
_GAP = r"\s+(?:(?:#:?|//|\*|>)\s*)?"
_PATTERN = re.compile(rf"\b(?:{'|'.join(phrase.replace(' ', _GAP) for phrase in BANNED)})\b", re.IGNORECASE)
_KINDS = {".py", ".html", ".js", ".css", ".yaml", ".yml", ".md", ".svg", ".toml"}


def files() -> Iterator[Path]:
    """Code, configs and pages. The changelog keeps the words of its time."""
    for folder in ("recsys", "jobs", "configs", "docs"):
        yield from sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in _KINDS)
    yield from (ROOT / name for name in ("README.md", "Makefile", "pyproject.toml", "mkdocs.yml", "cluster.yaml"))


def banned_words(text: str) -> list[tuple[int, str]]:
    """Line and words of each banned phrase in a text."""
    return [(text.count("\n", 0, found.start()) + 1, found[0]) for found in _PATTERN.finditer(text)]


def test_every_file_is_in_plain_english() -> None:
    found = {str(path.relative_to(ROOT)): banned_words(path.read_text(encoding="utf-8")) for path in files()}
    assert len(found) > 100
    assert {path: words for path, words in found.items() if words} == {}


def test_a_banned_phrase_is_found_also_over_two_lines() -> None:
    assert banned_words("x = 1\n#: Users of\n#: whom\n") == [(2, "of\n#: whom")]
    assert banned_words("It is made Anew.") == [(1, "Anew")]
    assert banned_words("a new item, unlike whatever") == []
