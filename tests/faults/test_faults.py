"""The quick subset of the table of faults; `make faults` makes all tries."""

from collections.abc import Iterator

import pytest

from tests.faults.row import Row
from tests.faults.rows import ROWS
from tests.faults.shop import Shop


@pytest.fixture(scope="module")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("faults"))
    yield shop
    shop.end()


@pytest.mark.parametrize("row", [row for row in ROWS if row.quick], ids=lambda row: row.name)
def test_nothing_is_lost(tiny_shop: Shop, row: Row) -> None:
    if why := row.impossible():
        pytest.skip(why)
    for number in row.numbers(tiny_shop, row.quick):
        row.make(tiny_shop, number)
