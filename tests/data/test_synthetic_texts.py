"""What the made-up shop's users say: the rest of the shop is as it was."""

import datetime as dt

import pyarrow.compute as pc

from recsys.data.synthetic.shop import make_shop
from recsys.data.synthetic.texts import with_texts


def test_texts_are_added_to_the_shop_and_nothing_else_changes() -> None:
    shop = make_shop(200, 60, 30, 1, dt.date(2026, 11, 22))
    talking = with_texts(shop, seed=1)
    search = pc.equal(talking.events["event"], "search")

    assert talking.events.filter(pc.invert(search)).drop_columns(["text"]).equals(shop.events)
    searches = talking.events.filter(search)
    assert searches["item_id"].null_count == len(searches) > 100
    words = pc.utf8_trim_whitespace(pc.fill_null(searches["text"], ""))
    assert pc.sum(pc.equal(words, "")).as_py() == talking.faults["search without a word"]
    assert talking.users is not None
    known = pc.is_in(talking.users["user_id"], value_set=pc.unique(shop.events["user_id"]))
    assert pc.all(known).as_py()
    assert set(talking.users["likes"].to_pylist()) <= set(shop.items["brand"].to_pylist())
    assert len(talking.days) == len(talking.events)
    again = with_texts(shop, seed=1)
    assert again.events.equals(talking.events)
    assert again.users == talking.users
