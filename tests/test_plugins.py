"""Modules of users: what a job says where one cannot be loaded."""

from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.plugins import load_plugins
from recsys.signals.registry import SIGNALS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no_such_shop.signals",
            r"no_such_shop\.signals cannot be imported \(No module named 'no_such_shop'\); install",
        ),
        ("./my_shop/signals.py", r"\./my_shop/signals\.py is no name of a module: write my_shop\.signals"),
        ("my_shop/signals.py", "is no name of a module"),
        (".signals", "is no name of a module"),
    ],
)
def test_a_module_that_is_not_found_is_refused_with_the_way_out(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^plugins: .*{message}"):
        load_plugins([name])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("price = 1\nshare = price / 0\n", r"ZeroDivisionError: .* \(.*broken_plugin\.py, line 2\)"),
        ("def load(:\n", r"SyntaxError: .* \(broken_plugin\.py, line 1\)"),
    ],
)
def test_a_module_that_fails_is_named_with_its_line(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"^plugins: broken_plugin fails while it is imported: {message}$"):
        load_plugins(["broken_plugin"])


def test_a_name_that_is_taken_is_said_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "csv_plugin.py").write_text(
        "from recsys.data.formats.jsonl import JsonlFormat\n"
        "from recsys.data.formats.registry import FORMATS\n\n\n"
        "class Mine(JsonlFormat):\n    name = 'csv'\n\n\n"
        "FORMATS.register(Mine())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"^input format 'csv' is registered twice: choose another name"):
        load_plugins(["csv_plugin"])


def test_a_class_is_refused_where_an_instance_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it fails in the stage that first calls a method, after the training."""
    (tmp_path / "class_plugin.py").write_text(
        "from recsys.ranking.rules.expiry import Expiry\n"
        "from recsys.ranking.rules.registry import RULES\n\n\n"
        "class Mine(Expiry):\n    name = 'mine'\n\n\n"
        "RULES.register(Mine)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"^rule 'mine': register an instance, Mine\(\), not the class$"):
        load_plugins(["class_plugin"])


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (
            "popularity",
            "its number 'popularity' has the name of a number of the signal 'popularity': choose another name",
        ),
        ("length", "'length' is the length of the history: rename its number"),
    ],
)
def test_a_number_of_a_signal_needs_a_name_of_its_own(
    number: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are kept by the names of numbers, and trees ask for numbers by name."""
    (tmp_path / f"{number}_plugin.py").write_text(
        "from recsys.signals.popularity import Popularity\n"
        "from recsys.signals.registry import SIGNALS\n\n\n"
        f"class Mine(Popularity):\n    name = 'mine'\n    columns = {{{number!r}: 'a number'}}\n\n\n"
        "SIGNALS.register(Mine())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"^signal 'mine': {said}"):
        load_plugins([f"{number}_plugin"])
    assert "mine" not in SIGNALS
