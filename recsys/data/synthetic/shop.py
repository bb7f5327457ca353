"""A small synthetic shop with known structure, for demos and tests: its texts carry what ids cannot.

Users have few events, and their tastes follow attributes: styles, and a material. The titles name them. Users furnish:
what follows an item in a session is often of the next category, in the same style. New items come every week and are
wanted most while they are new. So most pairs of items are never seen together, and a model that reads the titles
knows more than one that counts. Popularity is skewed (Zipf).

Shapes: U users, I items, N views, W weeks; see `recsys.data.synthetic.catalog`.
"""

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from recsys.data.synthetic.catalog import MIN_ITEMS, SyntheticCatalog, ids, make_catalog, pick
from recsys.data.synthetic.views import DAY_S, draw_views

Array = npt.NDArray[Any]

_MAX_VIEWS = 60


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Raw tables of a shop, as another company might deliver them. All events are text, and about 1 % are bad."""

    events: pa.Table
    """user_id, item_id, timestamp (ISO 8601, UTC), event; sorted by time."""
    items: pa.Table
    """item_id, title, category, brand, price."""
    days: npt.NDArray[np.datetime64]
    """Day of the file that each event is written to."""
    faults: dict[str, int]
    """Number of bad rows, by the kind of fault."""
    users: pa.Table | None = None
    """user_id, age, likes; only `synthetic_texts.with_texts` makes it."""


def make_shop(num_users: int, num_items: int, num_days: int, seed: int, end: dt.date) -> Shop:
    """Make a shop whose last day is `end` (UTC); the same arguments make the same shop."""
    assert min(num_users, num_days) > 0, f"num_users={num_users}, num_days={num_days}"
    assert num_items >= MIN_ITEMS, f"num_items={num_items}, at least {MIN_ITEMS}"
    random = np.random.default_rng(seed)
    catalog = make_catalog(random, num_items, num_days)
    num_views = np.clip(random.lognormal(1.5, 0.7, num_users).astype(int), 2, _MAX_VIEWS)
    new_user = random.random(num_users) < 0.06
    num_views[new_user] = 1
    user = np.repeat(np.arange(num_users), num_views)
    opens = random.random(len(user)) < 0.3
    opens[np.cumsum(num_views) - num_views] = True
    session = np.cumsum(opens) - 1
    second = _seconds(random, user, session, opens, new_user, num_days)
    item = draw_views(random, catalog, num_views, opens, second)
    rows = _events(random, user, item, second, session, new_user[user])
    return _deliver(random, catalog, rows, num_days, end)


def _seconds(
    random: np.random.Generator, user: Array, session: Array, opens: Array, new_user: Array, num_days: int
) -> Array:
    """Second of each view [N] since the first day: the sessions of a user are in order, and more are in the evening."""
    num_users = len(new_user)
    joined = np.where(new_user, num_days - 10, random.uniform(-0.5, 0.7, num_users) * num_days).clip(0)
    who = user[opens]
    day = np.floor(joined[who] + random.random(len(who)) * (num_days - joined[who]))
    begin = day * DAY_S + random.triangular(6 * 3600, 20 * 3600, 23 * 3600, len(who))
    begin = begin[np.lexsort((begin, who))]
    elapsed = np.cumsum(random.exponential(45, len(user)) + 5)
    second = begin[session] + elapsed - elapsed[opens][session]
    closing = num_days * DAY_S - 600  # leaves time for the checkout
    return np.asarray(np.minimum(second, closing), dtype=np.int64)


def _events(
    random: np.random.Generator, user: Array, item: Array, second: Array, session: Array, new_user: Array
) -> dict[str, Array]:
    """Rows of the log: some viewed items go to the cart, and the cart of a session is paid at one time."""
    cart = (random.random(len(user)) < 0.3) & ~new_user
    bought = cart & (random.random(len(user)) < 0.6)
    checkout = np.zeros(session[-1] + 1, dtype=np.int64)
    np.maximum.at(checkout, session, second + 120)
    view = np.concatenate([np.arange(len(user)), np.flatnonzero(cart), np.flatnonzero(bought)])
    kind = np.repeat([0, 1, 2], [len(user), cart.sum(), bought.sum()])
    time = np.where(kind == 2, checkout[session[view]], second[view] + 3 * kind)
    columns = np.stack([time, user[view], item[view], kind])
    time, user, item, kind = np.unique(columns, axis=1)  # by time, and without duplicates, which would be bad rows
    return {"user": user, "item": item, "second": time, "kind": kind}


def _deliver(
    random: np.random.Generator, catalog: SyntheticCatalog, rows: dict[str, Array], num_days: int, end: dt.date
) -> Shop:
    """Write the rows as text, and add a bad copy of some of them, each with one fault."""
    faults = ("missing user", "unknown item", "unreadable timestamp", "future timestamp", "duplicate")
    num_rows, num_faulty = len(rows["user"]), max(1, round(len(rows["user"]) * 0.002))
    source = np.concatenate([np.arange(num_rows), np.resize(random.permutation(num_rows), num_faulty * len(faults))])
    fault = np.repeat(np.arange(-1, len(faults)), [num_rows] + [num_faulty] * len(faults))
    order = np.lexsort((fault, source))
    source, fault = source[order], fault[order]
    first_day = np.datetime64(end, "D") - (num_days - 1)
    time = first_day.astype("datetime64[s]") + rows["second"][source]
    late = np.where(fault == 3, time + 3650 * DAY_S, time)
    text = pa.array(np.char.add(np.datetime_as_string(late, unit="s"), "Z"))
    unreadable = pick(("yesterday", "2026-13-45T25:61:00Z", "n/a"), source % 3)
    events = pa.table(
        {
            "user_id": pc.if_else(pa.array(fault == 0), None, ids("u", rows["user"][source], 5)),
            "item_id": ids("i", rows["item"][source] + len(catalog.table) * (fault == 1), 4),
            "timestamp": pc.if_else(pa.array(fault == 2), unreadable, text),
            "event": pick(("view", "cart", "purchase"), rows["kind"][source]),
        }
    )
    days = time.astype("datetime64[D]")
    return Shop(events=events, items=catalog.table, days=days, faults=dict.fromkeys(faults, num_faulty))


def write_shop(shop: Shop, folder: str | Path, file_format: Literal["csv", "jsonl"] = "csv") -> list[Path]:
    """Write `items.parquet`, one file `events/<day>.csv` (or `.jsonl`) for each day with events, and `users.parquet`.

    Files of an earlier shop in the folder are removed. Returns the paths of items and events.
    """
    events = Path(folder) / "events"
    events.mkdir(parents=True, exist_ok=True)
    for old in [*events.glob("????-??-??.csv"), *events.glob("????-??-??.jsonl")]:
        old.unlink()
    paths = [Path(folder) / "items.parquet"]
    pq.write_table(shop.items, paths[0])
    if shop.users is not None:
        pq.write_table(shop.users, Path(folder) / "users.parquet")
    for day in np.unique(shop.days):
        paths.append(events / f"{day}.{file_format}")
        rows = shop.events.filter(pa.array(shop.days == day))
        if file_format == "csv":
            pa.csv.write_csv(rows, paths[-1], pa.csv.WriteOptions(quoting_style="none"))
        else:
            rows.to_pandas().to_json(paths[-1], orient="records", lines=True)
    return paths


def main(argv: Sequence[str] | None = None) -> None:
    """Command line: make a shop and write it."""
    parser = argparse.ArgumentParser(
        prog="python -m recsys.data.synthetic.shop", description="Make a small synthetic shop."
    )
    parser.add_argument("--out", required=True, type=Path, help="folder to write into")
    parser.add_argument("--users", type=int, default=2000, help="number of users (default %(default)s)")
    parser.add_argument("--items", type=int, default=800, help="number of items (default %(default)s)")
    parser.add_argument("--days", type=int, default=90, help="days of events (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same shop (default %(default)s)")
    parser.add_argument(
        "--end", type=dt.date.fromisoformat, default="2026-11-22", help="last day (default %(default)s)"
    )
    parser.add_argument("--format", choices=["csv", "jsonl"], default="csv", help="of the events (default %(default)s)")
    args = parser.parse_args(argv)
    if args.users < 1 or args.days < 1 or args.items < MIN_ITEMS or args.seed < 0:
        parser.error(f"--users and --days must be at least 1, --items at least {MIN_ITEMS}, --seed at least 0")
    shop = make_shop(args.users, args.items, args.days, args.seed, args.end)
    paths = write_shop(shop, args.out, args.format)
    bad = ", ".join(f"{num} {fault}" for fault, num in shop.faults.items())
    sys.stdout.write(
        f"{args.out}/events: {len(shop.events)} events of {args.users} users in {len(paths) - 1} daily {args.format} "
        f"files, {sum(shop.faults.values())} of them bad ({bad})\n{paths[0]}: {len(shop.items)} items\n"
    )


if __name__ == "__main__":
    main()
