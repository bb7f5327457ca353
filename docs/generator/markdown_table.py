"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def stacked(table: str, kind: str) -> str:
    """A table whose rows become blocks on a phone, with the labels of a class in assets/site.css."""
    return f'<div class="stacked {kind}" markdown>\n\n{table}\n</div>\n'


def cell(text: str) -> str:
    """A text on one line, without the character that ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")
