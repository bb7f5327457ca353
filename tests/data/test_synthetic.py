import datetime as dt
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from recsys.data.histories import sort_interactions
from recsys.data.item_counts import count_items
from recsys.data.splits import cutoff_for, split_by_time, split_last_event
from recsys.data.synthetic.shop import main, make_shop, write_shop
from recsys.schema import INTERACTIONS, TIMESTAMP

END = dt.date(2026, 11, 22)


@pytest.fixture(scope="module")
def shop():
    return make_shop(2000, 600, 90, seed=0, end=END)


@pytest.fixture(scope="module")
def clean(shop):
    """The shop's good rows as sorted INTERACTIONS."""
    events = shop.events
    known = pc.is_in(events["item_id"], value_set=shop.items["item_id"].combine_chunks())
    readable = pc.match_substring_regex(events["timestamp"], r"^2026-(0\d|1[0-2])-\d\dT")
    events = events.filter(pc.and_(pc.and_(known, readable), pc.is_valid(events["user_id"])))
    timestamp = pc.strptime(events["timestamp"], format="%Y-%m-%dT%H:%M:%SZ", unit="us").cast(TIMESTAMP)
    columns = [events["user_id"], events["item_id"], timestamp, events["event"]]
    weight = pa.repeat(pa.scalar(1.0, pa.float32()), len(events))
    return sort_interactions(pa.table([*columns, weight], schema=INTERACTIONS))


def test_a_shop_is_made_in_seconds():
    before = time.monotonic()
    make_shop(2000, 500, 90, seed=3, end=END)
    assert time.monotonic() - before < 5  # 0.1 s alone; the machine may be busy


def test_the_seed_decides_the_shop():
    one, same, other = (make_shop(50, 60, 30, seed, END) for seed in (1, 1, 2))
    assert one.events == same.events
    assert one.items == same.items
    assert one.events != other.events


def test_items_are_readable_and_distinct(shop):
    titles = shop.items["title"].to_pylist()
    assert shop.items["item_id"].to_pylist()[:2] == ["i0000", "i0001"]
    assert len(set(titles)) == len(titles) == 600
    assert all(len(title.split()) >= 3 for title in titles)
    assert pc.min(shop.items["price"]).as_py() > 0
    assert pc.count_distinct(shop.items["category"]).as_py() == 10


def test_one_percent_of_the_rows_is_bad_as_the_shop_says(shop, clean):
    events = shop.events
    catalog = shop.items["item_id"].combine_chunks()
    assert 0.008 < sum(shop.faults.values()) / len(events) < 0.012
    assert events["user_id"].null_count == shop.faults["missing user"]
    assert pc.sum(pc.invert(pc.is_in(events["item_id"], value_set=catalog))).as_py() == shop.faults["unknown item"]
    iso = pc.match_substring_regex(events["timestamp"], r"^\d{4}-(0\d|1[0-2])-\d\dT([01]\d|2[0-3]):\d\d:\d\dZ$")
    assert pc.sum(pc.invert(iso)).as_py() == shop.faults["unreadable timestamp"]
    future = pc.and_(iso, pc.greater(events["timestamp"], "2026-11-23"))
    assert pc.sum(future).as_py() == shop.faults["future timestamp"]
    assert clean[1] == shop.faults["duplicate"]


def test_there_are_new_users_and_new_items(clean):
    per_user = clean[0].group_by("user_id").aggregate([([], "count_all")])["count_all"].to_numpy()
    assert len(per_user) == 2000
    assert 60 < (per_user == 1).sum() < 200
    assert 4 <= np.median(per_user) <= 8
    assert 30 <= 600 - len(count_items(clean[0])) <= 60
    assert set(pc.unique(clean[0]["event"]).to_pylist()) == {"view", "cart", "purchase"}


def test_new_items_come_every_week_and_are_wanted_while_they_are_new(clean):
    views = clean[0].filter(pc.equal(clean[0]["event"], "view"))
    day = pc.days_between(pa.scalar(END - dt.timedelta(days=89)), pc.cast(views["timestamp"], pa.date32())).to_numpy()
    item = pc.rank(views["item_id"], tiebreaker="dense").to_numpy() - 1
    first = np.full(item.max() + 1, 90)
    np.minimum.at(first, item, day)
    weeks = np.bincount(first[first >= 6] // 7, minlength=13)
    assert (weeks[1:12] >= 15).all(), weeks  # 30 of 600 are launched each week
    is_young = first >= 69  # three launches, the last three weeks
    assert is_young[item][day >= 83].mean() > 1.5 * is_young.mean()


def test_titles_place_items_that_nobody_viewed_before(shop, clean):
    """Among the new items, those that share words with the titles of the history are viewed more often."""
    views = clean[0].filter(pc.equal(clean[0]["event"], "view"))
    split = split_by_time(views, cutoff_for(END, 7))
    train, holdout = (part.select(["user_id", "item_id"]).to_pandas() for part in (split.train, split.holdout))
    words = {row["item_id"]: set(row["title"].split()[:2]) for row in shop.items.to_pylist()}  # style and material
    new_items = [item for item in words if item not in set(train["item_id"])]
    histories = train.groupby("user_id")["item_id"].agg(list)
    asked = holdout[holdout["item_id"].isin(new_items) & holdout["user_id"].isin(histories.index)]
    hits = 0
    for user, wanted in asked.itertuples(index=False):
        shared = {item: sum(len(words[item] & words[old]) for old in histories[user]) for item in new_items}
        hits += wanted in sorted(new_items, key=lambda item: -shared[item])[:10]
    assert len(asked) > 30
    assert hits / len(asked) > 2 * 10 / len(new_items)  # more than twice as often as by chance


def test_popularity_is_skewed(clean):
    num = count_items(clean[0])["num"].to_numpy()
    assert num[: len(num) // 5].sum() > 0.4 * num.sum()


def test_a_checkout_pays_for_several_items_at_one_time(clean):
    bought = clean[0].filter(pc.equal(clean[0]["event"], "purchase"))
    baskets = bought.group_by(["user_id", "timestamp"]).aggregate([([], "count_all")])
    assert pc.max(baskets["count_all"]).as_py() >= 3


def test_what_comes_next_beats_popularity(shop, clean):
    """Hit rate at 10 of a plain transition table on each user's last event: a model has something to learn."""
    views = clean[0].filter(pc.equal(clean[0]["event"], "view"))
    train, holdout = split_last_event(views)
    catalog = shop.items["item_id"].combine_chunks()
    item = pc.index_in(train["item_id"], value_set=catalog).to_numpy()
    user = pc.rank(train["user_id"], tiebreaker="dense").to_numpy()
    transitions = np.zeros((600, 600))
    same = user[1:] == user[:-1]
    np.add.at(transitions, (item[:-1][same], item[1:][same]), 1)
    popularity = np.bincount(item, minlength=600)
    known = pc.is_in(train["user_id"], value_set=holdout["user_id"].combine_chunks())
    last = item[np.flatnonzero(np.append(~same, True) & known.to_numpy())]
    wanted = pc.index_in(holdout["item_id"], value_set=catalog).to_numpy()
    assert len(last) == len(wanted) > 1000

    def hit_rate(scores):
        return (np.argsort(-scores, axis=1)[:, :10] == wanted[:, None]).any(axis=1).mean()

    assert hit_rate(transitions[last]) > 2 * hit_rate(np.tile(popularity, (len(last), 1))) > 0.05


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_day_files_hold_all_rows_and_replace_older_ones(tmp_path, file_format):
    write_shop(make_shop(30, 60, 40, 0, END), tmp_path)
    shop = make_shop(100, 60, 10, 0, END)
    items, *days = write_shop(shop, tmp_path, file_format)
    assert pq.read_table(items) == shop.items
    assert sorted(tmp_path.glob("events/*")) == days
    assert [day.stem for day in days] == [f"2026-11-{day}" for day in range(13, 23)]
    if file_format == "csv":
        text = pyarrow.csv.ConvertOptions(
            column_types=shop.events.schema,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        )
        read = pa.concat_tables([pyarrow.csv.read_csv(day, convert_options=text) for day in days])
    else:
        lines = [json.loads(line) for day in days for line in day.read_text().splitlines()]
        read = pa.Table.from_pylist(lines, shop.events.schema)
    order = [("timestamp", "ascending"), ("user_id", "ascending"), ("item_id", "ascending"), ("event", "ascending")]
    assert read.sort_by(order) == shop.events.sort_by(order)


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    main(["--out", str(tmp_path), "--users", "40", "--items", "30", "--days", "3", "--end", "2026-01-02"])
    said = capsys.readouterr().out
    assert f"{tmp_path}/items.parquet: 30 items" in said
    assert "of 40 users in 3 daily csv files" in said
    assert (tmp_path / "events" / "2025-12-31.csv").exists()


@pytest.mark.parametrize("wrong", [["--users", "0"], ["--items", "3"], ["--end", "soon"], ["--seed", "-1"]])
def test_a_wrong_command_is_refused_with_code_2(tmp_path, wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--out", str(tmp_path), *wrong])
    assert wrong[0] in capsys.readouterr().err
