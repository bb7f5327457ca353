"""`jobs/init.py`: a first config from files, without Ray."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.init import main
from recsys.settings import load_config

ORDERS = "Order;Customer;SKU;Bought At\n" + "".join(
    f"{row};{row % 7:05d};A-{row % 11};2026-11-{1 + row % 28:02d} 08:26\n" for row in range(40)
)
PRODUCTS = "sku,name\n" + "".join(f"A-{row},Lamp {row}\n" for row in range(11))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "products.csv").write_text(PRODUCTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, Any], str]:
    """The exit code, the last line and stderr."""
    monkeypatch.setattr(sys, "argv", ["recsys init", "--events", "orders.csv", "--items", "products.csv", *words])
    code = main()
    captured = capsys.readouterr()
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


def answer_questions(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let somebody on a terminal type this."""
    answers = io.StringIO(text)
    answers.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", answers)


def test_it_writes_a_config_that_the_night_reads(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer, _ = run(monkeypatch, capsys, "--yes")
    assert (code, answer["path"]) == (0, "recsys.yaml")
    assert answer["columns"]["events"] == {"timestamp": "Bought At", "item_id": "SKU", "user_id": "Customer"}
    config = load_config("recsys.yaml")
    assert (config.inputs.events.delimiter, config.inputs.items.columns.title) == (";", "name")


def test_a_wrong_guess_is_corrected_by_an_option(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, capsys, "--yes", "--column", "events.user_id=Order")
    assert load_config("recsys.yaml").inputs.events.columns.user_id == "Order"


def test_the_items_have_the_item_ids_that_the_events_are_said_to_have(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "products.csv").write_text("sku,ean,name\n" + "".join(f"A-{row},{row:013d},Lamp\n" for row in range(11)))
    lines = [line.split(";") for line in ORDERS.splitlines()]
    eans = ["EAN", *(f"{row % 11:013d}" for row in range(40))]
    (files / "orders.csv").write_text(
        "".join(f"{';'.join([*line, ean])}\n" for line, ean in zip(lines, eans, strict=True))
    )
    columns = run(monkeypatch, capsys, "--yes", "--column", "events.item_id=EAN")[1]["columns"]
    assert (columns["events"]["item_id"], columns["items"]["item_id"]) == ("EAN", "ean")
    shared = ("--items", "orders.csv", "--yes", "--force")
    columns = run(monkeypatch, capsys, *shared, "--column", "events.item_id=EAN")[1]["columns"]
    assert (columns["events"]["item_id"], columns["items"]["item_id"]) == ("EAN", "EAN")
    answer_questions(monkeypatch, "\nEAN" + "\n" * 9)
    columns = run(monkeypatch, capsys, "--force")[1]["columns"]
    assert (columns["events"]["item_id"], columns["items"]["item_id"]) == ("EAN", "ean")


def test_a_config_that_exists_is_kept(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "recsys.yaml").write_text("mine")
    code, answer, _ = run(monkeypatch, capsys, "--yes")
    assert code == 2
    assert "exists already" in answer["error"]
    assert (files / "recsys.yaml").read_text() == "mine"
    assert run(monkeypatch, capsys, "--yes", "--force")[0] == 0


@pytest.mark.parametrize("wrong", ["events.user_id", "nothing.user_id=Order", "events.user_id=Nobody", "=x"])
def test_a_correction_that_cannot_be_meant_is_refused(
    wrong: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer, _ = run(monkeypatch, capsys, "--yes", "--column", wrong)
    assert code == 2
    assert answer["error"].startswith(f"--column {wrong}: ")


def test_the_way_to_items_in_a_list_is_told(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"user_id": f"u{row % 7}", "at": f"2026-11-{1 + row % 28:02d}"} for row in range(40)]
    bought = [row | {"items": [{"item_id": f"i{number % 11}"}]} for number, row in enumerate(rows)]
    (files / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bought))
    pq.write_table(pa.Table.from_pylist(bought), files / "a.parquet")
    plain = [row | {"items": [f"i{number % 11}"]} for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(plain), files / "plain.parquet")
    for name in ("a.jsonl", "a.parquet", "plain.parquet"):
        monkeypatch.setattr(sys, "argv", ["recsys init", "--yes", "--events", name])
        assert main() == 2
        assert "one row for each entry of items first" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("words", [["--column", "events.usr_id=Order"], ["--out", "orders.csv/shop.yaml"]])
def test_nothing_is_left_of_a_config_that_cannot_be_written_or_read(
    words: list[str], files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer, _ = run(monkeypatch, capsys, "--yes", *words)
    assert (code, answer["status"]) == (2, "refused")
    assert "usr_id: unknown key" in answer["error"] or "--out orders.csv/shop.yaml: cannot be" in answer["error"]
    assert sorted(path.name for path in files.iterdir()) == ["orders.csv", "products.csv"]


def test_what_nothing_points_to_must_be_named(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "orders.csv").write_text(ORDERS.replace("Customer", "Kto"))
    code, answer, _ = run(monkeypatch, capsys, "--yes")
    assert code == 2
    assert "--column events.user_id=COLUMN, or join the files first" in answer["error"]


def test_on_a_terminal_each_column_is_asked_for(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_questions(monkeypatch, "Nobody\nOrder\n\n\n\n-\n")
    code, answer, _ = run(monkeypatch, capsys)
    assert code == 0
    assert answer["columns"]["events"]["user_id"] == "Order", "the first answer was no column, so it asked again"
    assert answer["columns"]["events"]["item_id"] == "SKU"
    assert "title" not in answer["columns"]["items"]


def test_answers_that_end_write_nothing(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Ctrl-D ends them."""
    answer_questions(monkeypatch, "Order\n")
    code, answer, _ = run(monkeypatch, capsys)
    assert (code, answer["error"]) == (2, "the answers ended; answer each question, or take the guesses with --yes")
    assert not (files / "recsys.yaml").exists()
