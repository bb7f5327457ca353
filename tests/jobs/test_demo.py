"""The files that the demo makes, without its night."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from jobs import demo
from recsys.data.synthetic.shop import make_shop, write_shop
from recsys.errors import ConfigError


def test_a_demo_that_was_interrupted_makes_its_data_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = make_shop(num_users=60, num_items=40, num_days=5, seed=1, end=dt.date(2026, 11, 22))

    def interrupted(*arguments: Any) -> None:
        newest = write_shop(*arguments)[-1]
        newest.unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "write_shop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.write_data(shop, tmp_path / "data")
    assert not (tmp_path / "data" / "events").exists()
    monkeypatch.setattr(demo, "write_shop", write_shop)
    demo.write_data(shop, tmp_path / "data")
    assert len(list((tmp_path / "data" / "events").iterdir())) == 5
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["events", "items.parquet"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("a file")
    with pytest.raises(ConfigError, match=r"demo/demo\.yaml: cannot be written"):
        demo.demo(demo.Namespace(set=[]))
