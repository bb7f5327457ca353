"""Makes cases of the public leave-one-out sets of sequences with item texts; the last item of each user is withheld.

scientific, toys       Amazon reviews, Industrial & Scientific and Toys & Games
yelp, goodreads        places and books
NAME-tenth             a tenth of the users, with the items that they had
NAME-cold-items        without the events of a tenth of the items; only these items are targets, ranked among all items

The sets have an order and no times, so the times are made up: each user's events are a day apart, and the last ones are
spread over the last hundred days. This suits leave-one-out and is no ground for a claim about time splits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from cases import COLD_ITEM_SEED, COLD_ITEM_SHARE, Case, Split

SETS = ("scientific", "toys", "yelp", "goodreads")
TENTH, COLD_ITEMS = "-tenth", "-cold-items"
#: Every case of this file; each is a split of its own.
SEQUENCE_CASES = [name + kind for name in SETS for kind in ("", TENTH, COLD_ITEMS)]
#: The quick form of the benchmark.
SHORT_CASES = [name if name == "scientific" else name + TENTH for name in SETS]
#: The newest event of the sets, at most.
LAST_DAY = pd.Timestamp("2020-01-01", tz="UTC") + pd.Timedelta(days=300)
#: Hours over which the users' last events are spread, and a prime that spreads them evenly.
SPREAD_HOURS, STRIDE = 2400, 7919
TENTH_SEED = 0


def sequence_split(data: Path, case: str) -> Split:
    """The split of a case.

    Args:
        data: Holds `sequences/NAME/sequences.parquet` and `items.parquet`.
        case: One of `SEQUENCE_CASES`.
    """
    name = next(name for name in SETS if case.startswith(name))
    table, items = (pd.read_parquet(data / "sequences" / name / f"{part}.parquet") for part in ("sequences", "items"))
    sequences = {user: list(own) for user, own in zip(table.user_id, table.item_ids, strict=True)}
    if case.endswith(TENTH):
        sequences = tenth(sequences)
    split = leave_one_out(sequences, titles_of(items), case)
    return without_a_tenth_of_the_items(split, case) if case.endswith(COLD_ITEMS) else split


def titles_of(items: pd.DataFrame) -> dict[str, str]:
    """Title and category of each item, in one text."""
    parts = zip(items.item_id, items.title, items.category, strict=True)
    return {item: ". ".join(filter(None, texts)) for item, *texts in parts}


def tenth(sequences: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """The sequences of a random tenth of the users, in their order."""
    users = list(sequences)
    drawn = np.random.default_rng(TENTH_SEED).choice(len(users), len(users) // 10, replace=False)
    return {users[place]: sequences[users[place]] for place in sorted(drawn)}


def leave_one_out(sequences: Mapping[str, Sequence[str]], titles: Mapping[str, str], case: str) -> Split:
    """A split whose targets are the last items. The catalog holds the items of the sequences."""
    rows, targets = [], []
    for number, (user, items) in enumerate(sequences.items()):
        *known, last = items
        end = LAST_DAY + pd.Timedelta(hours=number * STRIDE % SPREAD_HOURS)
        rows += [(user, item, end - pd.Timedelta(days=len(known) - 1 - place)) for place, item in enumerate(known)]
        targets.append((user, last))
    catalog = sorted({item for items in sequences.values() for item in items})
    return Split(
        events=pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]),
        items=pd.DataFrame({"item_id": catalog, "title": [titles.get(item) or "unknown" for item in catalog]}),
        protocol="leave-one-out",
        popularity_days=None,
        cases={case: Case(truth=pd.DataFrame(targets, columns=["user_id", "item_id"]), exclude_seen=True)},
    )


def without_a_tenth_of_the_items(split: Split, case: str) -> Split:
    """The same without the events of a random tenth of the items, which are the only targets."""
    ids = split.items.item_id.to_numpy(dtype=object)
    drawn = np.random.default_rng(COLD_ITEM_SEED).choice(ids, round(COLD_ITEM_SHARE * len(ids)), replace=False)
    events = split.events[~split.events.item_id.isin(set(drawn))]
    truth = split.cases[case].truth
    truth = truth[truth.item_id.isin(set(drawn)) & truth.user_id.isin(set(events.user_id))]
    return Split(
        events=events,
        items=split.items,
        protocol=split.protocol,
        popularity_days=split.popularity_days,
        cases={case: Case(truth=truth, exclude_seen=True)},
    )
