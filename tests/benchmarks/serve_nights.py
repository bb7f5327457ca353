"""Makes the published nights for the benchmark of the live service: a synthetic shop of 10,000 items.

The warehouse `small` has two nights with the small text encoder. Their titles end with a word of the night, so that a
reply shows from which catalog it came. The warehouse `minilm` has one night of the same shop with MiniLM, and `light`
has one with MiniLM in int8, which ONNX Runtime runs. All are trained very little, since only the size of a model
changes its speed. They are kept under a digest of a night's code.
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

from recsys.data.synthetic.shop import make_shop, write_shop

NUM_USERS, NUM_ITEMS, NUM_DAYS, END = 3_000, 10_000, 90, dt.date(2026, 11, 22)
#: Nights of the small warehouse: date → last word of its titles.
EDITIONS = {END.isoformat(): "(old)", (END + dt.timedelta(days=1)).isoformat(): "(new)"}
#: EASE takes most of a night. It is small where it is not measured: searches do not use it, and swaps are not timed.
SMALL_EASE = ["ease.items=1024"]
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
encoder: {encoder}
"""
#: The encoder of each warehouse.
ENCODERS = {
    "small": "{model: null}",
    "minilm": f"{{model: {MINILM}}}",
    "light": f"{{model: {MINILM}, engine: onnx, quantization: int8}}",
}


@dataclass(frozen=True, kw_only=True)
class Nights:
    """A warehouse to serve."""

    config: Path
    """Config file to serve with."""
    warehouse: Path
    pointers: list[bytes]
    """Content of `LATEST.json` after each night."""


def make_nights(folder: Path, name: str, number: int = 1) -> Nights:
    """The warehouse `small`, `minilm` or `light` with a number of nights. Runs the nights that are missing."""
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
    """Run a night if it is missing; return what it wrote into `LATEST.json`."""
    pointer, shop = folder / f"{date}.json", folder / "shop"
    if pointer.exists():
        return pointer.read_bytes()
    if not shop.exists():
        write_shop(make_shop(NUM_USERS, NUM_ITEMS, NUM_DAYS, seed=0, end=END), shop)
    items = pq.read_table(shop / "items.parquet")
    titles = pc.binary_join_element_wise(items["title"], EDITIONS[date], " ")
    pq.write_table(items.set_column(items.schema.get_field_index("title"), "title", titles), folder / f"{date}.parquet")
    config = folder / f"{date}.yaml"
    settings = {
        "warehouse": folder / "warehouse",
        "shop": shop,
        "items": folder / f"{date}.parquet",
        "encoder": ENCODERS[name],
    }
    config.write_text(CONFIG.format(**settings))
    timed = name == "small" and date == END.isoformat()
    changes = [*QUICK, "train.refit=false", *([] if timed else SMALL_EASE)]
    words = [word for change in changes for word in ("--set", change)]
    say(f"serve: the night of {date}, {name} …")
    command = [sys.executable, "jobs/nightly.py", "--config", str(config), "--date", date, *words]
    run(command, folder / f"{date}.log", RAY_ADDRESS="local")
    shutil.copy(folder / "warehouse/recommendations/LATEST.json", pointer)
    return pointer.read_bytes()
