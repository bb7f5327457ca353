"""A small synthetic shop with known structure, for demos and tests.

A model can learn: users have a few tastes (category × material) that drift; items form collections that are bought in
order, also across sessions; an item is followed by its complement in the same material. The titles name category,
material and collection, so that a new item can be placed by its text. Popularity is skewed (Zipf).

Shapes: U users, I items, N views, G groups (category × material).
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

Array = npt.NDArray[Any]

CATEGORIES = {
    "Lighting": "Desk Lamp,Floor Lamp,Pendant Light,Wall Sconce,Lantern,Night Light",
    "Seating": "Armchair,Dining Chair,Bar Stool,Bench,Rocking Chair,Footstool",
    "Tables": "Side Table,Coffee Table,Writing Desk,Console Table,Dining Table,Nightstand",
    "Storage": "Bookcase,Shoe Rack,Storage Box,Wall Shelf,Coat Stand,Cabinet",
    "Kitchen": "Cutting Board,Salad Bowl,Serving Tray,Spice Jar,Utensil Holder,Bread Bin",
    "Tableware": "Dinner Plate,Soup Bowl,Coffee Mug,Tea Pot,Sugar Bowl,Milk Jug",
    "Garden": "Plant Pot,Bird Feeder,Watering Can,Planter,Trellis,Wind Chime",
    "Decor": "Picture Frame,Wall Clock,Vase,Candle Holder,Mirror,Bookend",
    "Office": "Pen Holder,Letter Tray,Monitor Stand,Notebook Stand,Paperweight,Magazine Rack",
    "Bath": "Soap Dish,Towel Rail,Bath Stool,Toothbrush Cup,Laundry Basket,Bath Tray",
}
MATERIALS = ("Walnut", "Oak", "Bamboo", "Brass", "Copper", "Steel", "Glass", "Ceramic", "Marble", "Rattan")
COLLECTIONS = (
    "Harbor,Meadow,Aurora,Willow,Ember,Juniper,Saffron,Cobalt,Heron,Linden,Maple,Nordic,Orchid,Pebble,Quartz,Raven,"
    "Sierra,Tundra,Umber,Velvet,Winter,Yarrow,Zephyr,Alder,Birch,Cedar,Dahlia,Elm,Fjord,Grove,Hazel,Indigo,Jasper,"
    "Kestrel,Lagoon,Mistral,Nectar,Onyx,Poppy,Russet"
)
BRANDS = ("Alma & Co", "Brightwell", "Casa Verde", "Dovetail", "Elmwood", "Finch", "Granite House", "Hearth")

#: A smaller catalog has no structure.
MIN_ITEMS = 12

_COLLECTION_SIZE = 6
_TASTES = 3
_MAX_VIEWS = 150
_DAY_S = 86_400


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


@dataclass(frozen=True, kw_only=True)
class _Catalog:
    """Items with their hidden structure: group [I], popularity weight [I], next item of the collection [I] or −1."""

    group: Array
    weight: Array
    following: Array
    table: pa.Table


def make_shop(num_users: int, num_items: int, num_days: int, seed: int, end: dt.date) -> Shop:
    """Make a shop whose last day is `end` (UTC); the same arguments make the same shop."""
    assert min(num_users, num_days) > 0, f"num_users={num_users}, num_days={num_days}"
    assert num_items >= MIN_ITEMS, f"num_items={num_items}, at least {MIN_ITEMS}"
    random = np.random.default_rng(seed)
    catalog = _make_catalog(random, num_items)
    num_views = np.clip(random.lognormal(2.3, 0.9, num_users).astype(int), 2, _MAX_VIEWS)
    new_user = random.random(num_users) < 0.06
    num_views[new_user] = 1
    user = np.repeat(np.arange(num_users), num_views)
    session = random.random(len(user)) < 0.3
    session[np.cumsum(num_views) - num_views] = True
    item = _walk(random, catalog, num_views, session)
    second = _seconds(random, user, np.cumsum(session) - 1, session, new_user, num_days)
    rows = _events(random, user, item, second, np.cumsum(session) - 1, new_user[user])
    return _deliver(random, catalog, rows, num_days, end)


def _make_catalog(random: np.random.Generator, num_items: int) -> _Catalog:
    categories, nouns = list(CATEGORIES), [noun for names in CATEGORIES.values() for noun in names.split(",")]
    num_groups = len(categories) * len(MATERIALS)
    num_collections = -(-num_items // _COLLECTION_SIZE)
    # Collections take the groups in turn, so that a small shop has some of every kind; their names differ.
    deck = np.concatenate([random.permutation(num_groups) for _ in range(-(-num_collections // num_groups))])
    names = COLLECTIONS.split(",")
    nth = np.arange(len(deck)) // num_groups
    shift = random.integers(0, len(names), num_groups)
    collection, place = np.divmod(random.permutation(num_items), _COLLECTION_SIZE)  # ids do not reveal the structure
    group = deck[collection]
    category, material = np.divmod(group, len(MATERIALS))
    name = (nth[collection] + shift[group]) % len(names)
    brand = random.integers(0, len(BRANDS), len(deck))[collection]
    weight = 1.0 / (random.permutation(num_items) + 1) ** 0.8
    newest = random.permutation(num_items)[: max(1, num_items * 2 // 100)]
    weight[newest] = 0.0  # in the catalog, but without events
    at = np.empty(num_items, dtype=int)
    at[collection * _COLLECTION_SIZE + place] = np.arange(num_items)
    last = (place == _COLLECTION_SIZE - 1) | (collection * _COLLECTION_SIZE + place == num_items - 1)
    following = np.where(last, -1, at[(collection * _COLLECTION_SIZE + place + 1) % num_items])
    following[weight[following] == 0] = -1
    words = [_pick(names, name), _pick(MATERIALS, material), _pick(nouns, category * _COLLECTION_SIZE + place)]
    table = pa.table(
        {
            "item_id": _ids("i", np.arange(num_items), 4),
            "title": pc.binary_join_element_wise(*words, " "),
            "category": _pick(categories, category),
            "brand": _pick(BRANDS, brand),
            "price": pa.array(np.round(np.exp(random.normal(3.3, 0.7, num_items)) + 1, 2)),
        }
    )
    return _Catalog(group=group, weight=weight, following=following, table=table)


def _walk(random: np.random.Generator, catalog: _Catalog, num_views: Array, session: Array) -> Array:
    """Item of each view [N]: one pass makes the first view of all users, the next pass the second, and so on."""
    num_groups, num_materials = len(CATEGORIES) * len(MATERIALS), len(MATERIALS)
    groups = np.arange(num_groups)
    same_category = groups[:, None] // num_materials == catalog.group // num_materials
    same_material = groups[:, None] % num_materials == catalog.group % num_materials
    affinity = np.where(same_category & same_material, 1.0, 0.06 * same_category + 0.03 * same_material + 0.002)
    cumulative = np.cumsum(affinity * catalog.weight, axis=1)
    cumulative = (cumulative / cumulative[:, -1:] + groups[:, None]).ravel()

    def draw(group: Array) -> Array:
        place = np.searchsorted(cumulative, group + random.random(len(group)), side="right")
        return np.asarray(place % len(catalog.group))

    appeal = random.dirichlet(np.ones(num_groups))
    taste = random.choice(num_groups, size=(len(num_views), _TASTES), p=appeal)
    item = np.empty(int(num_views.sum()), dtype=int)
    start = np.cumsum(num_views) - num_views
    for step in range(num_views.max()):
        user = np.flatnonzero(num_views > step)
        here = start[user] + step
        drifting = user[session[here] & (random.random(len(user)) < 0.1)]
        taste[drifting, random.integers(0, _TASTES, len(drifting))] = random.choice(
            num_groups, size=len(drifting), p=appeal
        )
        chosen = draw(taste[user, random.choice(_TASTES, size=len(user), p=[0.6, 0.3, 0.1])])
        if step:
            before, dice = item[here - 1], random.random(len(user))
            complement = (catalog.group[before] + num_materials) % num_groups  # the next category, the same material
            chosen = np.where(dice < 0.15, draw(complement), chosen)
            chosen = np.where((dice > 0.55) & (catalog.following[before] >= 0), catalog.following[before], chosen)
        item[here] = chosen
    return item


def _seconds(
    random: np.random.Generator, user: Array, session: Array, opens: Array, new_user: Array, num_days: int
) -> Array:
    """Second of each view [N] since the first day: the sessions of a user are in order, and more are in the evening."""
    num_users = len(new_user)
    joined = np.where(new_user, num_days - 10, random.uniform(-0.5, 0.7, num_users) * num_days).clip(0)
    who = user[opens]
    day = np.floor(joined[who] + random.random(len(who)) * (num_days - joined[who]))
    begin = day * _DAY_S + random.triangular(6 * 3600, 20 * 3600, 23 * 3600, len(who))
    begin = begin[np.lexsort((begin, who))]
    elapsed = np.cumsum(random.exponential(45, len(user)) + 5)
    second = begin[session] + elapsed - elapsed[opens][session]
    closing = num_days * _DAY_S - 600  # leaves time for the checkout
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
    random: np.random.Generator, catalog: _Catalog, rows: dict[str, Array], num_days: int, end: dt.date
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
    late = np.where(fault == 3, time + 3650 * _DAY_S, time)
    text = pa.array(np.char.add(np.datetime_as_string(late, unit="s"), "Z"))
    unreadable = _pick(("yesterday", "2026-13-45T25:61:00Z", "n/a"), source % 3)
    events = pa.table(
        {
            "user_id": pc.if_else(pa.array(fault == 0), None, _ids("u", rows["user"][source], 5)),
            "item_id": _ids("i", rows["item"][source] + len(catalog.group) * (fault == 1), 4),
            "timestamp": pc.if_else(pa.array(fault == 2), unreadable, text),
            "event": _pick(("view", "cart", "purchase"), rows["kind"][source]),
        }
    )
    days = time.astype("datetime64[D]")
    return Shop(events=events, items=catalog.table, days=days, faults=dict.fromkeys(faults, num_faulty))


def _pick(words: Sequence[str], index: Array) -> pa.Array:
    return pa.array(words, pa.string()).take(pa.array(index))


def _ids(letter: str, number: Array, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(number).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(pa.scalar(letter), digits, "")


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
    parser = argparse.ArgumentParser(prog="python -m recsys.data.synthetic", description="Make a small synthetic shop.")
    parser.add_argument("--out", required=True, type=Path, help="folder to write into")
    parser.add_argument("--users", type=int, default=2000, help="number of users (default %(default)s)")
    parser.add_argument("--items", type=int, default=600, help="number of items (default %(default)s)")
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
