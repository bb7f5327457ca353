"""The tables of past nights on a terminal of 80 columns: what people need is whole."""

import io
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from jobs import past_nights, publish
from recsys.settings import Config, decode_config
from tests.conftest import tiny_config
from tests.published_shop import PublishedShop


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a storage with two published nights."""
    config = decode_config(tiny_config(Path("shop"), tmp_path / "warehouse", realized={"price": "price"}))
    shop = PublishedShop(tmp_path / "warehouse", config)
    for day in range(2):
        shop.publish(shop.run(day), [("ann", ["a", "b"]), ("bob", ["b"])], lambda user: f"a-long-experiment/{user}")
    shop.know(shop.run(1), {"a": {"price": "1299.50"}, "b": {"price": "2"}}, [(1, "ann", "a"), (1, "bob", "b")])
    return config


def on_terminal(monkeypatch: pytest.MonkeyPatch, job: ModuleType) -> io.StringIO:
    page = io.StringIO()
    monkeypatch.setattr(job, "console", Console(file=page, width=80))
    return page


def test_the_ids_that_go_back_to_a_night_are_whole(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    page = on_terminal(monkeypatch, publish)
    answer = publish.publish(config, Namespace(list=True, retain=False, dry_run=False, to=None))
    for night in answer["nights"]:
        assert night["run_id"] in page.getvalue()
    assert "…" not in page.getvalue()


def test_the_published_nights_break_no_word(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = PublishedShop(Path(config.storage), config)
    run = shop.run(2)
    shop.publish(run, [("ann", ["a"])], model_id=run.model_ids[1])
    page = on_terminal(monkeypatch, publish)
    publish.publish(config, Namespace(list=True, retain=False, dry_run=False, to=None))
    head, *rows = [line.split() for line in page.getvalue().splitlines() if "│" in line or "┃" in line]
    assert [word for word in head if word != "┃"] == ["run", "model", "users", "rows", "MB", "published", "stays"]
    row = next([word for word in row if word != "│"] for row in rows if row[0] == run.run_id)
    assert (row[:3], row[-1]) == ([run.run_id, "refit", "1"], "LATEST")


def test_a_storage_without_nights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty table looks like another storage than the one that was meant."""
    empty = decode_config(tiny_config(Path("shop"), tmp_path / "wharehouse"))
    page = on_terminal(monkeypatch, publish)
    answer = publish.publish(empty, Namespace(list=True, retain=False, dry_run=False, to=None))
    assert answer["nights"] == []
    assert page.getvalue() == f"No night is published in {tmp_path / 'wharehouse'}.\n"


def test_no_figure_of_past_nights_is_cut(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    page = on_terminal(monkeypatch, past_nights)
    past_nights.realized(config)
    assert "2026-11-01" in page.getvalue()
    assert "…" not in page.getvalue()
