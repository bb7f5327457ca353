"""Makes the cases of the quality benchmark from the raw data: events to learn from, and withheld events.

A split is one set of events to learn from. A case is a split with a truth and a rule whether lists may hold items that
the user already had. Splits follow the protocols of publications on these data:

ml100k       MovieLens 100K, users and items with ≥ 5 ratings; each user's last item is withheld (leave-one-out)
retail       Online Retail before 2011-11-25; the next fortnight is withheld
cold-users   retail plus the first 3 items of customers who came later, dated just before the cut;
             cold-users-MM-DD is the same at an earlier day, since few customers come in one fortnight
cold-items   retail without the events of a tenth of the items; only these items are targets;
             cold-items-MM-DD is the same at an earlier day, without other items

The folder of a split holds events.parquet, items.parquet, split.json and for each
case CASE/truth.parquet and CASE/case.json.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

#: Events before this time are known; events from here on are withheld.
CUT = pd.Timestamp("2011-11-25", tz="UTC")
FORTNIGHT = pd.Timedelta(days=14)
#: The days of the cases `cold-users-MM-DD` and `cold-items-MM-DD`.
EARLIER = tuple(CUT - number * FORTNIGHT for number in (4, 3, 2, 1))
MIN_COUNT = 5
ITEMS_GIVEN = 3
COLD_ITEM_SHARE = 0.1
#: Draws the withheld items; the earlier cases count on from it.
COLD_ITEM_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Case:
    """The targets of a split."""

    truth: pd.DataFrame
    """Targets as rows of user_id, item_id, without duplicates."""
    exclude_seen: bool
    """Whether lists leave out items that the user already had."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Events and items to learn from, and the cases of this split."""

    events: pd.DataFrame
    """Rows of user_id, item_id, timestamp (UTC)."""
    items: pd.DataFrame
    """Rows of item_id, title."""
    protocol: str
    """`leave-one-out` or `time`: how tuned baselines hold out their validation data."""
    popularity_days: int | None
    """Days over which the popularity baseline counts; None: all."""
    cases: dict[str, Case]

    @property
    def date(self) -> str:
        """The night's data date."""
        return str(self.events.timestamp.max().date())


def movielens(data: Path) -> dict[str, Split]:
    """MovieLens 100K, leave-one-out with its real timestamps.

    Args:
        data: Holds `ml-100k/ml-100k.inter` and `ml-100k/ml-100k.item`.
    """
    ratings, films = (atomic(data / f"ml-100k/ml-100k.{name}") for name in ("inter", "item"))
    ratings["seconds"] = ratings.timestamp.astype(float)
    ratings = ratings.sort_values(["user_id", "seconds"], kind="stable")
    ratings = frequent(ratings)
    # ratings of the same second keep the file's order
    place = ratings.groupby("user_id").cumcount()
    ratings["timestamp"] = pd.to_datetime(ratings.seconds, unit="s", utc=True) + pd.to_timedelta(place, unit="us")
    last = ratings.groupby("user_id").cumcount(ascending=False) == 0
    items = film_items(films)
    items = items[items.item_id.isin(set(ratings.item_id))].sort_values("item_id")
    case = Case(truth=_pairs(ratings[last]), exclude_seen=True)
    events = ratings.loc[~last, ["user_id", "item_id", "timestamp"]]
    split = Split(
        events=events,
        items=items,
        protocol="leave-one-out",
        popularity_days=None,
        cases={"ml100k": case},
    )
    return {"ml100k": split}


def film_items(films: pd.DataFrame) -> pd.DataFrame:
    """The films of MovieLens as rows of item_id, title."""
    titles = films.movie_title + " (" + films.release_year + ") " + films["class"]
    return pd.DataFrame({"item_id": films.item_id, "title": titles.fillna("unknown")})


def frequent(events: pd.DataFrame) -> pd.DataFrame:
    """The k-core: rows whose users and items all have at least `MIN_COUNT` rows."""
    while True:
        items = events.groupby("item_id").item_id.transform("size")
        kept = events[items >= MIN_COUNT]
        kept = kept[kept.groupby("user_id").user_id.transform("size") >= MIN_COUNT]
        if len(kept) == len(events):
            return events
        events = kept


def online_retail(data: Path) -> dict[str, Split]:
    """Online Retail's splits.

    Args:
        data: Holds `online-retail/*.csv`.
    """
    lines = retail_lines(data)
    named = lines[lines.Description.notna()].sort_values("timestamp", kind="stable")
    titles = named.groupby("item_id").Description.last().str.strip()
    items = titles.rename("title").reset_index()
    events = lines[["user_id", "item_id", "timestamp"]]
    past, future = events[events.timestamp < CUT], events[events.timestamp >= CUT]
    return {
        "retail": _retail(past, future, items),
        "cold-users": cold_users(past, future, items),
        "cold-items": cold_items(past, future, items),
        **{case_at("cold-users", cut): cold_users(*until(events, items, cut), cut) for cut in EARLIER},
        **{
            case_at("cold-items", cut): cold_items(*until(events, items, cut), cut, COLD_ITEM_SEED + number)
            for number, cut in enumerate(EARLIER, start=1)
        },
    }


def case_at(case: str, cut: pd.Timestamp) -> str:
    """The name of a case at an earlier day."""
    return case if cut == CUT else f"{case}-{cut:%m-%d}"


def until(events: pd.DataFrame, items: pd.DataFrame, cut: pd.Timestamp) -> tuple[pd.DataFrame, ...]:
    """Past events, future events and items, as if the file ended a fortnight after an earlier day."""
    events = events[events.timestamp < cut + FORTNIGHT]
    sold = items[items.item_id.isin(set(events.item_id))]
    return events[events.timestamp < cut], events[events.timestamp >= cut], sold


def _retail(past: pd.DataFrame, future: pd.DataFrame, items: pd.DataFrame) -> Split:
    truth = _pairs(future[future.user_id.isin(set(past.user_id))])
    cases = {
        "retail-new": Case(truth=without(truth, past), exclude_seen=True),
        "retail-all": Case(truth=truth, exclude_seen=False),
    }
    return _fortnight(past, items, cases)


def cold_users(past: pd.DataFrame, future: pd.DataFrame, items: pd.DataFrame, cut: pd.Timestamp = CUT) -> Split:
    """Customers first seen after the cut. Their first `ITEMS_GIVEN` items are known, the other items are targets.

    The known items are dated to the last microseconds before the cut, so that nothing changes for other customers.
    """
    first = future[~future.user_id.isin(set(past.user_id))].sort_values("timestamp", kind="stable")
    first = first.drop_duplicates(["user_id", "item_id"])
    place = first.groupby("user_id").cumcount()
    given, rest = first[place < ITEMS_GIVEN], first[place >= ITEMS_GIVEN]
    given = given[given.user_id.isin(set(rest.user_id))]
    times = cut - pd.to_timedelta(ITEMS_GIVEN - place[given.index], unit="us")
    events = pd.concat([past, given.assign(timestamp=times)], ignore_index=True)
    case = Case(truth=_pairs(rest), exclude_seen=True)
    return _fortnight(events, items, {case_at("cold-users", cut): case})


def cold_items(
    past: pd.DataFrame,
    future: pd.DataFrame,
    items: pd.DataFrame,
    cut: pd.Timestamp = CUT,
    seed: int = COLD_ITEM_SEED,
) -> Split:
    """A random tenth of the items lose all their events. Targets are the targets of `retail-new` among these items."""
    ids = np.sort(items.item_id.to_numpy(dtype=object))
    number = round(COLD_ITEM_SHARE * len(ids))
    withheld = set(np.random.default_rng(seed).choice(ids, size=number, replace=False))
    truth = _pairs(future[future.user_id.isin(set(past.user_id)) & future.item_id.isin(withheld)])
    events = past[~past.item_id.isin(withheld)]
    truth = without(truth, past)
    truth = truth[truth.user_id.isin(set(events.user_id))]
    case = Case(truth=truth, exclude_seen=True)
    return _fortnight(events, items, {case_at("cold-items", cut): case})


def _fortnight(events: pd.DataFrame, items: pd.DataFrame, cases: dict[str, Case]) -> Split:
    return Split(events=events, items=items, protocol="time", popularity_days=7, cases=cases)


def without(pairs: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The pairs (user_id, item_id) that are not among the others."""
    known = pd.MultiIndex.from_frame(others[["user_id", "item_id"]])
    return pairs[~pd.MultiIndex.from_frame(pairs[["user_id", "item_id"]]).isin(known)]


def write_split(split: Split, folder: Path) -> None:
    """Write a split and its cases. `split.json` is written last and shows that the folder is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    split.events.to_parquet(folder / "events.parquet", index=False)
    split.items.to_parquet(folder / "items.parquet", index=False)
    for name, case in split.cases.items():
        (folder / name).mkdir(exist_ok=True)
        case.truth.to_parquet(folder / name / "truth.parquet", index=False)
        (folder / name / "case.json").write_text(json.dumps({"exclude_seen": case.exclude_seen}))
    facts = {
        "date": split.date,
        "protocol": split.protocol,
        "popularity_days": split.popularity_days,
        "cases": list(split.cases),
    }
    (folder / "split.json").write_text(json.dumps(facts))


def _pairs(events: pd.DataFrame) -> pd.DataFrame:
    return events[["user_id", "item_id"]].drop_duplicates()


def atomic(path: Path) -> pd.DataFrame:
    """Read a RecBole file: tab-separated, with `name:type` in its header."""
    table = pd.read_csv(path, sep="\t", dtype=str)
    return table.rename(columns=lambda name: name.partition(":")[0])


def retail_lines(data: Path) -> pd.DataFrame:
    """Sales to known customers, in the order of the files, without cancellations, returns and gifts."""
    texts = {"InvoiceNo": str, "StockCode": str, "CustomerID": str}
    lines = pd.concat([pd.read_csv(path, dtype=texts) for path in sorted((data / "online-retail").glob("*.csv"))])
    sold = (
        lines.CustomerID.notna() & (lines.Quantity > 0) & (lines.UnitPrice > 0) & ~lines.InvoiceNo.str.startswith("C")
    )
    lines = lines[sold].rename(columns={"CustomerID": "user_id", "StockCode": "item_id"})
    return lines.assign(timestamp=pd.to_datetime(lines.InvoiceDate, utc=True)).reset_index(drop=True)
