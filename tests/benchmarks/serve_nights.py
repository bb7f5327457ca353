"""The published nights that the live service is measured on: one made-up shop of 10,000 items, seen three times.

`small` is a warehouse of two nights whose titles end with the night's own word, so that a reply tells which catalog it
came from; its encoder is the small one that learns from scratch. `minilm` is one night of the same shop with MiniLM.
Everything is hardly trained: the size of a model decides its speed. What is made is kept under a digest of all code
that a night is made by.
"""

import datetime as dt
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from quality import QUICK, ROOT, digest, run, say, short
from speed_inputs import MINILM

from recsys.data.synthetic import make_shop, write_shop

NUM_USERS, NUM_ITEMS, NUM_DAYS, END = 3_000, 10_000, 90, dt.date(2026, 11, 22)
#: Nights of the small warehouse: date → the word that its titles end with.
EDITIONS = {END.isoformat(): "(old)", (END + dt.timedelta(days=1)).isoformat(): "(new)"}
#: The linear model takes most of a night. A search has no item for it, and swaps are not timed: there it is small.
SMALL_LINEAR = ["linear.items=1024"]
CONFIG = """storage: {warehouse}
inputs:
  events:
    path: {shop}/events
    format: csv
    columns: {{user_id: user_id, item_id: item_id, timestamp: timestamp, event: event}}
  items:
    path: {items}
    format: parquet
    columns: {{item_id: item_id, title: title}}
    text: "{{title}}. {{category}}. {{brand}}"
encoder: {{model: {encoder}, train: frozen}}
"""


@dataclass(frozen=True, kw_only=True)
class Nights:
    """A warehouse that can be served."""

    config: Path
    """To be served with."""
    warehouse: Path
    pointers: list[bytes]
    """What `LATEST.json` held after each night."""


def make_nights(folder: Path, name: str, number: int = 1) -> Nights:
    """The warehouse `small` or `minilm`, with so many nights; made as far as it is not there yet."""
    files = (path for top in ("recsys", "jobs") for path in sorted((ROOT / top).rglob("*.py")))
    code = digest(path for path in files if "serving" not in path.parts and path.name != "serve.py")
    ours = folder / f"{name}-{short(code, digest([Path(__file__)]))}"
    for old in set(folder.glob(f"{name}-*")) - {ours}:
        shutil.rmtree(old)
    ours.mkdir(parents=True, exist_ok=True)
    dates = list(EDITIONS)[:number]
    pointers = [_night(ours, name, date) for date in dates]
    return Nights(config=ours / f"{dates[0]}.yaml", warehouse=ours / "warehouse", pointers=pointers)


def _night(folder: Path, name: str, date: str) -> bytes:
    """Run a night where it has not been; answers what it wrote into `LATEST.json`."""
    pointer, shop = folder / f"{date}.json", folder / "shop"
    if pointer.exists():
        return pointer.read_bytes()
    if not shop.exists():
        write_shop(make_shop(NUM_USERS, NUM_ITEMS, NUM_DAYS, seed=0, end=END), shop)
    items = pq.read_table(shop / "items.parquet")
    titles = pc.binary_join_element_wise(items["title"], EDITIONS[date], " ")
    pq.write_table(items.set_column(items.schema.get_field_index("title"), "title", titles), folder / f"{date}.parquet")
    config, encoder = folder / f"{date}.yaml", MINILM if name == "minilm" else "null"
    settings = {
        "warehouse": folder / "warehouse",
        "shop": shop,
        "items": folder / f"{date}.parquet",
        "encoder": encoder,
    }
    config.write_text(CONFIG.format(**settings))
    timed = name == "small" and date == END.isoformat()
    changes = [*QUICK, "train.refit=false", *([] if timed else SMALL_LINEAR)]
    words = [word for change in changes for word in ("--set", change)]
    say(f"serve: the night of {date}, {name} …")
    command = [sys.executable, "jobs/nightly.py", "--config", str(config), "--date", date, *words]
    run(command, folder / f"{date}.log", RAY_ADDRESS="local")
    shutil.copy(folder / "warehouse/recommendations/LATEST.json", pointer)
    return pointer.read_bytes()
