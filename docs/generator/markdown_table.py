"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], stacked: str = "") -> str:
    """A table whose cells are Markdown already.

    `stacked` is a class of assets/site.css, with which a row becomes a block on a phone. Without one the table scrolls.
    """
    lines = [columns, ["---"] * len(columns), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f'<div class="stacked {stacked}" markdown>\n\n{text}\n</div>\n' if stacked else text


def cell(text: str) -> str:
    """A text on one line, without the character that ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")
