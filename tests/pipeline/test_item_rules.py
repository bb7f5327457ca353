"""Which items a night may recommend: rules and id files of its config."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recsys.errors import ConfigError
from recsys.pipeline.inputs.item_rules import count_filtered, recommendable
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.schema import CATALOG
from recsys.settings import decode_config
from recsys.storage.tables import write_table

MakeNight = Callable[..., Run]

ITEMS = [
    ("a", True, {"kind": "pen", "title": "Pen"}),
    ("b", True, {"kind": "cup", "title": "Cup"}),
    ("c", False, {"kind": "cup"}),
    ("d", True, {"kind": "cup", "title": "Big Cup"}),
    ("e", True, {}),
]


@pytest.fixture
def make_night(shop: Path, tmp_path: Path) -> MakeNight:
    events = {"path": f"{shop}/events", "format": "csv"}
    inputs = {"events": events, "items": {"path": f"{shop}/items.parquet", "text": "{title}"}}

    def make(**rerank: Any) -> Run:
        settings = {"storage": str(tmp_path / "warehouse"), "date": "2026-11-22", "inputs": inputs, "rerank": rerank}
        return open_run(decode_config(settings))

    return make


def catalog() -> pa.Table:
    rows = [
        {"item_id": item, "text": item, "available": available, "attributes": attributes, "text_hash": item}
        for item, available, attributes in ITEMS
    ]
    table = pa.Table.from_pylist(rows, CATALOG)
    return pa.concat_tables([table.slice(0, 2), table.slice(2)])


def open_items(run: Run) -> str:
    mask = recommendable(run, catalog()).mask
    return "".join(item for (item, *_), may in zip(ITEMS, mask, strict=True) if may)


def test_rules_and_files_take_items_out(make_night: MakeNight, tmp_path: Path) -> None:
    blocked, allowed = tmp_path / "blocked.txt", tmp_path / "allowed.txt"
    blocked.write_text("b\nnobody\n")
    allowed.write_text("\ufeffa\nb\nc\n\n")
    assert open_items(make_night()) == "abde"
    assert open_items(make_night(block=["a"])) == "bde"
    assert open_items(make_night(block=["a"], block_file=str(blocked))) == "de"
    assert open_items(make_night(allow_file=str(allowed))) == "ab"
    assert open_items(make_night(allow_file=str(allowed), block_file=str(blocked))) == "a"
    assert open_items(make_night(where="kind == 'cup'")) == "bd"


def test_what_they_took_is_counted_and_said_once(
    make_night: MakeNight, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_night(block=["b", "nobody"], where="kind is not null")
    write_table(run.storage, run.catalog_path, catalog(), CATALOG)
    with caplog.at_level(logging.INFO):
        counts = count_filtered(run)
    assert counts == {
        "items": 5,
        "unavailable": 1,
        "blocked": 1,
        "not_allowed": 0,
        "not_where": 1,
        "expired": 0,
        "recommendable": 2,
        "unknown_block": 1,
        "unknown_allow": 0,
    }
    assert [record.getMessage() for record in caplog.records] == [
        "rerank: 1 of the 2 ids to block are not in the catalog: nobody",
        "recommend: 2 of 5 items may be recommended (unavailable 1, blocked 1, not_where 1)",
    ]


def test_rules_that_cannot_be_kept_are_named(make_night: MakeNight, tmp_path: Path) -> None:
    binary = tmp_path / "blocked.txt"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"rerank\.block_file: must be UTF-8"):
        open_items(make_night(block_file=str(binary)))
    with pytest.raises(ConfigError, match="no item has an attribute 'colour'"):
        open_items(make_night(where="colour == 'red'"))
    with pytest.raises(ConfigError, match="none of the 4 available items"):
        open_items(make_night(block=[item for item, *_ in ITEMS]))
