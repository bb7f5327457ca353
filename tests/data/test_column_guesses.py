"""Columns of shops as people have them: which one is taken for which of our names."""

import pyarrow as pa
import pytest

from recsys.data.config import TableInput
from recsys.data.guesses.column_guesses import (
    Columns,
    guess_events,
    guess_items,
    guess_timestamp_format,
    guess_users,
    item_texts,
    user_texts,
)
from recsys.data.guesses.column_values import values_of
from recsys.data.guesses.column_words import words_of

NUM = 40
TIMES = [f"2026-11-{1 + row % 28:02d} 08:{row:02d}" for row in range(NUM)]
USERS = [f"{row % 11:05d}" for row in range(NUM)]
ITEMS = [f"{85_000 + row % 13}A" for row in range(NUM)]
NUMBERS = [str(1 + row % 5) for row in range(NUM)]


def columns(**cells: list[str]) -> Columns:
    return values_of(pa.table(cells), TableInput(path="x"))


def names(found: dict[str, object]) -> dict[str, str]:
    return {ours: guess.column for ours, guess in found.items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("user", "item", "time"),
    [
        ("user_id", "item_id", "timestamp"),
        ("CustomerID", "StockCode", "InvoiceDate"),
        ("visitorid", "itemid", "ts"),
        ("reviewer.id", "parent_asin", "created_at"),
        ("Client No", "Artikel", "Zeitpunkt"),
        ("member", "sku", "bought_at"),
    ],
)
def test_events_by_their_names(user: str, item: str, time: str) -> None:
    events = columns(**{"row": [str(row) for row in range(NUM)], user: USERS, item: ITEMS, time: TIMES, "qty": NUMBERS})
    found = guess_events(events)
    by_values = "Artikel"  # no word that we know: only another file can show it
    expected = {"user_id": user, "timestamp": time, "weight": "qty"} | ({} if item == by_values else {"item_id": item})
    assert names(found) == expected
    assert not found["weight"].sure
    items = columns(Nummer=ITEMS[:13], Bezeichnung=["Eiche Lampe"] * 13)
    assert names(guess_events(events, items))["item_id"] == item
    assert names(guess_items(items, events[item]))["item_id"] == "Nummer"


def test_users_and_items_that_are_both_counted_from_1_are_told_by_their_names() -> None:
    """Instacart's `orders` have a user, and its `products` an id, that count from 1."""
    counted = [str(1 + row % 20) for row in range(NUM)]
    items = columns(product_id=[str(1 + row) for row in range(NUM)])
    assert names(guess_events(columns(user_id=counted, at=TIMES), items)) == {"user_id": "user_id", "timestamp": "at"}
    events = columns(user_id=counted, number=counted, at=TIMES)
    assert names(guess_events(events, items)) == {"user_id": "user_id", "item_id": "number", "timestamp": "at"}


def test_a_kind_has_few_values() -> None:
    kinds = ["view", "cart", "purchase", "view"] * (NUM // 4)
    assert names(guess_events(columns(user=USERS, item=ITEMS, time=TIMES, action=kinds)))["event"] == "action"
    many = [f"kind {row}" for row in range(NUM)] * 2
    long = columns(
        user=USERS * 2, item=ITEMS * 2, time=TIMES * 2, action=[f"{kind}{row}" for row, kind in enumerate(many)]
    )
    assert "event" not in guess_events(long)


def test_of_two_columns_of_kinds_the_one_with_more_of_them_is_taken() -> None:
    """Segment's `type` is `track` for most, and `event` says what was done."""
    types, kinds = ["page", "track"] * (NUM // 2), ["viewed", "added", "bought", "removed"] * (NUM // 4)
    assert names(guess_events(columns(type=types, event=kinds)))["event"] == "event"


def test_the_type_of_a_product_is_no_kind_of_event_and_a_state_of_orders_is_one() -> None:
    types, states = ["simple", "bundle"] * (NUM // 2), ["complete", "processing", "closed", "canceled"] * (NUM // 4)
    assert names(guess_events(columns(product_type=types, status=states)))["event"] == "status"
    assert "event" not in guess_events(columns(product_type=types, status=["new", "open"] * (NUM // 2)))


def test_a_column_that_is_empty_in_many_rows_is_not_preferred() -> None:
    """Shopify says when an order was paid in its first row only; GA4 and Segment know few visitors by name."""
    few = ["a", "", "", "b"]
    times = [value if few[row % 4] else "" for row, value in enumerate(TIMES)]
    members = [f"m{row}" if few[row % 4] else "" for row in range(NUM)]
    found = guess_events(columns(paid_at=times, created_at=TIMES, user_id=members, anonymousId=USERS))
    assert names(found) == {"timestamp": "created_at", "user_id": "anonymousId"}
    assert names(guess_events(columns(paid_at=times, user_id=members))) == {
        "timestamp": "paid_at",
        "user_id": "user_id",
    }


def test_words_for_nothing_are_no_values() -> None:
    """Dumps of MySQL have \\N, and R writes NA."""
    few = ["a", r"\N", "NA", "b"]
    members = [f"m{row}" if few[row % 4] in "ab" else few[row % 4] for row in range(NUM)]
    ratings = [str(row % 5) if few[row % 4] in "ab" else few[row % 4] for row in range(NUM)]
    found = guess_events(columns(user_id=members, visitor_id=USERS, rating=ratings))
    assert names(found) == {"user_id": "visitor_id", "weight": "rating"}


def test_of_days_and_times_of_these_days_the_times_are_taken() -> None:
    """GA4 has both; a table of reviews has the day of a purchase, too."""
    micros = [str(1_791_763_200_000_000 + row * 3_600_000_000 * 7) for row in range(NUM)]
    dates = [f"202610{12 + row * 7 // 24:02d}" for row in range(NUM)]
    assert names(guess_events(columns(event_date=dates, event_timestamp=micros))) == {"timestamp": "event_timestamp"}
    days = [time[:10] for time in TIMES]
    later = [f"2026-12-{1 + row % 28:02d} 08:00" for row in range(NUM)]
    assert names(guess_events(columns(bought_at=days, updated_at=later))) == {"timestamp": "bought_at"}


def test_ids_of_ga4_have_a_point_and_times_are_no_ids_by_a_word_of_their_name() -> None:
    times = [str(1_690_000_000_000_000 + row) for row in range(NUM)]
    visitors = [f"{1_000_000_000 + row % 7}.{1_690_000_001 + row % 7}" for row in range(NUM)]
    events = columns(user_first_touch_timestamp=times, user_pseudo_id=visitors, at=TIMES)
    assert names(guess_events(events))["user_id"] == "user_pseudo_id"
    assert "user_id" not in guess_events(
        columns(user_first_touch_timestamp=times, at=TIMES, user_rating=["4.25"] * NUM)
    )


def test_lists_objects_and_numbers_of_pieces_are_no_ids() -> None:
    bought = ['[{"item_id": "a"}]', '[{"item_id": "b"}]', "[]", '[{"item_id": "c"}]'] * (NUM // 4)
    objects = ['{"id": 1}', '{"id": 2}'] * (NUM // 2)
    assert "item_id" not in guess_events(columns(items=bought, item=objects))
    assert "item_id" not in guess_events(columns(total_item_quantity=NUMBERS))


def test_a_number_of_its_own_in_each_row_is_an_id_of_items_only_where_nothing_else_is() -> None:
    """Magento's `item_id` counts the lines of orders."""
    lines = [str(row) for row in range(NUM)]
    assert names(guess_events(columns(item_id=lines, product_id=ITEMS)))["item_id"] == "product_id"
    assert names(guess_events(columns(item_id=lines)))["item_id"] == "item_id"


def test_a_quantity_below_0_is_a_weight_and_money_the_last_choice() -> None:
    signed = ["1", "2", "-1", "1"] * (NUM // 4)
    assert guess_events(columns(qty=signed))["weight"].sure
    assert not guess_events(columns(rating=signed))["weight"].sure, "-1 may stand for no rating"
    assert names(guess_events(columns(discount_amount=signed, quantity=NUMBERS))) == {"weight": "quantity"}


def test_texts_of_items_are_no_ids_states_or_objects_and_keep_a_description() -> None:
    """As in the tables of Goodreads, H&M and WooCommerce."""
    items = columns(
        id=[f"s{row}" for row in range(NUM)],
        title=[f"Oak Lamp {row}" for row in range(NUM)],
        country_code=["US", "GB"] * (NUM // 2),
        stock_status=["instock", "outofstock"] * (NUM // 2),
        authors=['[{"author_id": "604031", "role": "translator"}]'] * NUM,
        **{f"{name}_group": ["red", "blue"] * (NUM // 2) for name in "abcdef"},
        detail_desc=[f"a long text about item {row}" for row in range(NUM)],
    )
    expected = ["title", *(f"{name}_group" for name in "abcd"), "detail_desc"]
    assert item_texts(items, guess_items(items, None)) == expected


def test_a_column_of_times_is_no_id_and_small_numbers_are_no_times() -> None:
    found = guess_events(columns(user_time=TIMES, user=USERS, item=ITEMS, date_code=NUMBERS))
    assert names(found) == {"user_id": "user", "item_id": "item", "timestamp": "user_time"}


def test_numbers_of_articles_that_would_be_times_since_1970_are_none() -> None:
    articles = [str(706_016_001 + row % 13) for row in range(NUM)]
    found = guess_events(columns(article_id=articles, customer_id=USERS, dt=TIMES))
    assert names(found) == {"item_id": "article_id", "user_id": "customer_id", "timestamp": "dt"}


def test_items_have_a_title_texts_and_what_is_available() -> None:
    items = columns(
        sku=[f"s{row}" for row in range(NUM)],
        details=[f"a long text about item {row}" for row in range(NUM)],
        brand=["Heron", "Raven"] * (NUM // 2),
        image=["https://shop.example/1.png"] * NUM,
        product_name=[f"Oak Lamp {row}" for row in range(NUM)],
        in_stock=["yes", "no"] * (NUM // 2),
        price=["3.50"] * NUM,
        currency=["EUR"] * NUM,
        updated=TIMES,
    )
    found = guess_items(items, None)
    assert names(found) == {"item_id": "sku", "title": "product_name", "available": "in_stock"}, "one row an item"
    assert item_texts(items, found) == ["product_name", "brand", "details"]
    versions = columns(sku=[f"s{row % 20}" for row in range(NUM)], updated=TIMES)
    assert names(guess_items(versions, None)) == {"item_id": "sku", "timestamp": "updated"}


def test_what_names_a_person_is_not_in_the_texts_of_users() -> None:
    users = columns(
        email=[f"{row}@example.org" for row in range(NUM)],
        customer=[f"{row:05d}" for row in range(NUM)],
        first_name=["Ann", "Bob"] * (NUM // 2),
        age=["33", "44"] * (NUM // 2),
        city=["Rome", "Oslo"] * (NUM // 2),
    )
    found = guess_users(users, columns(id=USERS)["id"])
    assert names(found) == {"user_id": "customer"}
    assert user_texts(users, found) == ["age", "city"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["12/1/2010", "12/2/2010"], "month_first"),
        (["1/12/2010", "2/12/2010"], "day_first"),
        (["1/12/2010", "31/12/2010"], None),
        (["20101201", "20101202"], "%Y%m%d"),
        (["2010-12-01"], None),
    ],
)
def test_a_format_is_named_where_the_sample_does_not_settle_it(values: list[str], expected: str | None) -> None:
    assert guess_timestamp_format(columns(time=values)["time"]) == expected


def test_words_of_a_name() -> None:
    assert words_of("CustomerID") == ["customer", "id"]
    assert words_of("bought_at") == ["bought", "at"]
    assert words_of("SKUCode2") == ["sku", "code", "2"]
