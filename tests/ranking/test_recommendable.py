"""Which items may be recommended: each item rule, its count, and its error for settings that cannot be meant."""

import datetime as dt
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.ranking.config import RerankConfig
from recsys.ranking.recommendable import recommendable_items
from recsys.ranking.rules.attributes import attribute_names
from recsys.ranking.rules.id_lists import decode_id_lines, find_ids
from recsys.schema import CATALOG

DATE = dt.date(2026, 11, 22)

ROWS = [
    ("a", True, {"category": "Lamps", "price": "9.50", "title": "Lamp"}),
    ("b", True, {"category": "Gift cards", "price": "100", "title": "Card"}),
    ("c", False, {"category": "Lamps", "price": "20", "title": "Sold out"}),
    ("d", True, {"price": "on request", "title": "Vase"}),
    ("e", True, {"category": "Lamps", "price": " 30 ", "odd name": "x", "title": "Lamp"}),
]


def catalog(rows: list[tuple[str, bool, dict[str, str]]] = ROWS) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"item_id": item, "text": item, "available": available, "attributes": attributes, "text_hash": item}
            for item, available, attributes in rows
        ],
        schema=CATALOG,
    )


Configure = Callable[..., RerankConfig]
Kept = Callable[..., str]


@pytest.fixture(scope="module")
def configure(tmp_path_factory: pytest.TempPathFactory) -> Configure:
    """Settings of the item rules; the ids of `allow` are written to a file."""
    path = tmp_path_factory.mktemp("ids") / "allowed.txt"

    def config(
        block: Sequence[str] | None = None, allow: Sequence[str] | None = None, where: str | None = None
    ) -> RerankConfig:
        if allow is not None:
            path.write_text("\n".join(allow))
        return RerankConfig(
            block=None if block is None else list(block), allow_file=None if allow is None else str(path), where=where
        )

    return config


@pytest.fixture(scope="module")
def kept(configure: Configure) -> Kept:
    """The ids that may be recommended, as one word."""

    def ids(table: pa.Table | None = None, **rules: object) -> str:
        table = catalog() if table is None else table
        mask = recommendable_items(table, configure(**rules), DATE).mask
        assert mask.dtype == np.bool_
        return "".join(table["item_id"].filter(pa.array(mask)).to_pylist())

    return ids


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, "abde"),
        ({"block": ["b", "c"]}, "ade"),
        ({"allow": ["a", "c", "e"]}, "ae"),
        ({"allow": ["a", "e"], "block": ["e"]}, "a"),
        ({"where": "category = 'Lamps'"}, "ae"),
        ({"where": "category != 'Gift cards'"}, "ae"),  # as in SQL: d has no category
        ({"where": "category != 'Gift cards' or category is null"}, "ade"),
        ({"where": "price < 50"}, "ae"),  # numbers, not texts; what is none is unknown
        ({"where": "number(price) > 9 and price <= 1e2"}, "abe"),
        ({"where": "PRICE < 50"}, "ae"),  # the case of a name does not matter, as in SQL
        ({"where": "contains(lower(title), 'lamp') and not price >= 30"}, "a"),
        ({"where": "\"odd name\" = 'x'"}, "e"),
        ({"where": "true"}, "abde"),
        ({"where": "title in ('Vase', 'Card')", "block": ["b"]}, "d"),
    ],
)
def test_what_may_be_recommended(kept: Kept, rules: dict[str, object], expected: str) -> None:
    assert kept(**rules) == expected
    parts = pa.concat_tables([catalog(ROWS[:2]), catalog(ROWS[2:])])
    assert kept(parts, **rules) == expected, "the chunks of a column do not matter"


def test_a_slice_has_the_attributes_of_its_own_items_only(kept: Kept) -> None:
    part = catalog().slice(2, 2)
    assert attribute_names(part) == ["category", "price", "title"]
    assert attribute_names(catalog()) == ["category", "odd name", "price", "title"]
    assert kept(part, where="title == 'Vase'") == "d"


def test_each_item_is_counted_under_the_first_rule_that_removes_it(configure: Configure) -> None:
    rules = configure(block=["b", "c", "zz"], allow=["a", "b", "d", "yy", "xx"], where="price < 50")
    found = recommendable_items(catalog(), rules, DATE)
    assert found.removed == {"unavailable": 1, "blocked": 1, "not_allowed": 1, "not_where": 1, "expired": 0}
    assert found.counts == {
        "items": 5,
        "unavailable": 1,
        "blocked": 1,
        "not_allowed": 1,
        "not_where": 1,
        "expired": 0,
        "recommendable": 1,
        "unknown_block": 1,
        "unknown_allow": 2,
    }


ids = st.lists(st.sampled_from([*"abcdefgh"]))


@given(ids, st.none() | ids, st.sampled_from([None, "price < 50", "title is not null", "title == 'Vase'"]))
def test_the_counts_add_up(configure: Configure, block: list[str], allow: list[str] | None, where: str | None) -> None:
    try:
        found = recommendable_items(catalog(), configure(block, allow, where), DATE)
    except ConfigError:
        wanted = (
            {"a", "b", "d", "e"} - set(block) if allow is None else ({"a", "b", "d", "e"} - set(block)) & set(allow)
        )
        passes = {None: "abde", "price < 50": "ae", "title is not null": "abde", "title == 'Vase'": "d"}[where]
        assert not wanted & set(passes), "only what leaves nothing is refused"
        return
    counts = found.counts
    assert counts["items"] == 5 == sum(found.removed.values()) + counts["recommendable"]
    assert counts["recommendable"] == found.mask.sum() > 0
    assert counts["unknown_block"] == len(set(block) - set("abcde"))
    assert counts["unknown_allow"] == len(set(allow or []) - set("abcde"))
    assert len(found.warnings) == (counts["unknown_block"] > 0) + (counts["unknown_allow"] > 0)


def test_a_warning_names_some_of_the_ids_that_are_not_in_the_catalog(configure: Configure) -> None:
    found = recommendable_items(catalog(), configure(block=["a", *(f"x{number}" for number in range(7)), "x0"]), DATE)
    assert found.warnings == ("rerank: 7 of the 8 ids to block are not in the catalog: x0, x1, x2, x3, x4 …",)
    found = recommendable_items(catalog(), configure(allow=["a", "x"]), DATE)
    assert found.warnings == ("rerank: 1 of the 2 ids to allow are not in the catalog: x",)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"where": "colour == 'red'"}, "rerank.where \"colour == 'red'\": no item has an attribute 'colour'; "),
        ({"where": "colour == 'red'"}, "the attributes are category, odd name, price, title. inputs.items.attributes"),
        ({"where": "price > 1000"}, "none of the 4 available items may be recommended: rerank.where 'price > 1000'"),
        ({"where": "title > 5"}, "'title > 5' is not true of 4; the attributes are category, odd name, price, title"),
        ({"allow": []}, "the allow list does not name 4"),
        ({"allow": ["c"]}, "the allow list does not name 4"),
        ({"block": ["a", "b"], "allow": ["a", "b"]}, "the block list removes 2, the allow list does not name 2"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(kept: Kept, rules: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        kept(**rules)
    assert message in str(caught.value)


def test_a_catalog_without_attributes_says_so(kept: Kept) -> None:
    with pytest.raises(ConfigError, match="no item has an attribute 'x'; the catalog has no attributes"):
        kept(catalog([("a", True, {})]), where="x == 1")


def test_a_shop_that_has_sold_out_is_not_refused(kept: Kept) -> None:
    assert kept(catalog([("a", False, {})]), block=["a"]) == ""
    assert kept(CATALOG.empty_table(), block=["a"]) == ""


def test_a_file_of_ids_is_read_line_by_line() -> None:
    content = "\ufeffa\r\n\n  b c \n#1\na\nü\x85x".encode()
    assert decode_id_lines(content, "rerank.block_file") == ["a", "b c", "#1", "ü\x85x"]
    assert decode_id_lines(b"", "rerank.block_file") == []


def test_listed_ids_are_spelled_as_the_night_spells_them() -> None:
    items = catalog([("caf\u00e9", True, {}), ("b", True, {})])
    assert find_ids(items, ["cafe\u0301", "b\u200b"], "block").listed.all()


def test_a_file_that_is_no_text_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^rerank\.allow_file: must be UTF-8 text with one item id a line; byte 2 is not"
    ):
        decode_id_lines(b"a\n\xff", "rerank.allow_file")
