"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def in_blocks(table: str, kinds: str) -> str:
    """A table whose rows are shown as blocks; `kinds` are classes of assets/site.css."""
    return f'<div class="{kinds}" markdown>\n\n{table}\n</div>\n'


def cell(text: str) -> str:
    """A text on one line, without the character that ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")
