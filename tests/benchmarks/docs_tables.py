"""Writes the tables of the docs and of README from the figures of the benchmarks.

    python tests/benchmarks/docs_tables.py [--out bench]

Reads bench/ablation.json and bench/quality.json and replaces what stands between the marks of each table. A table whose
figures are missing stays as it is.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablation import FULL, difference_of
from quality import OURS, ROOT
from sequences import COLD_ITEMS, SETS

Numbers = Mapping[str, Any]

NAMES = {
    "scientific": "Amazon, industrial and scientific",
    "toys": "Amazon, toys and games",
    "yelp": "Yelp, places",
    "goodreads": "Goodreads, books",
    "ml100k": "MovieLens 100K",
    "retail-new": "Online Retail, new to the customer",
}
COSINE = "cosine of texts, MiniLM"


def main() -> int:
    """Replace the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=ROOT / "bench")
    folder = options.parse_args().out
    ablation, quality = (read(folder / f"{name}.json") for name in ("ablation", "quality"))
    for page in (ROOT / "README.md", ROOT / "docs" / "quality-and-speed.md"):
        text = page.read_text()
        for name, table in (("six sets", six_sets(ablation)), ("cold items", cold_items(quality))):
            text = replaced(text, name, table) if table else text
        page.write_text(text)
    return 0


def read(path: Path) -> Numbers:
    """The cases of a file of figures; empty if it is missing."""
    return json.loads(path.read_text())["cases"] if path.exists() else {}


def replaced(text: str, name: str, table: str) -> str:
    """The text with the table between the marks `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""
    marks = [f"<!-- {name}: {which} -->" for which in ("begin", "end")]
    return re.sub(f"(?s){marks[0]}.*?{marks[1]}", lambda _: f"{marks[0]}\n{table}{marks[1]}", text)


def six_sets(cases: Numbers) -> str:
    """What texts and ranker bring on each set, and the best peer."""
    rows = [six_sets_row(case, cases[case]) for case in NAMES if case in cases]
    head = ["data", "recsys", "texts bring", "ranker and texts bring", "best other model", "time for ranker and texts"]
    return markdown(head, rows)


def six_sets_row(case: str, numbers: Numbers) -> list[str]:
    """The cells of a set."""
    variants = numbers["variants"]
    peer = next((name for name in variants if name.startswith("best peer: ")), None)
    best = "" if peer is None else f"{figure(variants[peer]['ndcg@10'])} ({peer.partition(': ')[2]})"
    brought = [gain(variants.get(name)) for name in ("without texts", "without ranker and texts")]
    name = f"{NAMES[case]}, {numbers['users']:,} users"
    return [
        name,
        f"**{figure(variants[FULL]['ndcg@10'])}**",
        *brought,
        best,
        f"{numbers['language_share_of_time']:.0%}",
    ]


def gain(row: Mapping[str, float] | None) -> str:
    """What the whole has more than a variant, with its interval and in percent."""
    if row is None:
        return ""
    percent = row["difference"] / row["ndcg@10"]
    return f"{signed(difference_of(row))}, {signed(f'{percent:+.0%}')}"


def cold_items(cases: Numbers) -> str:
    """NDCG@10 of items that were withheld, and of the same items by a model that knew them."""
    rows = []
    for case in (name + COLD_ITEMS for name in SETS):
        ours = cases.get(case, {}).get("systems", {}).get(OURS)
        if ours is not None:
            cosine = cases[case]["systems"].get(COSINE)
            figures = [cases[case]["random_ndcg@10"], cosine and cosine["ndcg@10"]["mean"]]
            figures += [ours["ndcg@10"]["mean"], ours["warm_ndcg@10"]["mean"]]
            rows.append(
                [NAMES[case.removesuffix(COLD_ITEMS)], *("" if each is None else figure(each) for each in figures)]
            )
    return markdown(["data", "at random", "cosine of texts", "recsys", "recsys, items known"], rows)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is text; empty without rows."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---", *["---:"] * (len(head) - 1)], *rows]]
    return "\n".join(lines) + "\n"


def figure(value: float) -> str:
    """A metric without the zero before its point."""
    return f"{value:.4f}".removeprefix("0")


def signed(text: str) -> str:
    """The same with real minus signs, and without zeros before points."""
    return re.sub(r"(?<=[+−])0(?=\.)", "", text.replace("-", "−"))


if __name__ == "__main__":
    sys.exit(main())
