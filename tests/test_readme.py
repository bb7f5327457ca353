"""The README is code too: its blocks are run, decoded, or held against the commands that they name."""

import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest
from ray.scripts.scripts import cli as ray_cli
from ruamel.yaml import YAML

from recsys.settings import decode_config

ROOT = Path(__file__).parents[1]
#: Blocks that ask the live service are run against one in tests/serving/test_client.py.
SERVICE = "http://127.0.0.1:8000"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, f"no {language} block in README.md"
    return found


def commands() -> Iterator[str]:
    """Every command of the bash blocks, and every one in backticks that begins with `python jobs/` or `make `."""
    for block in blocks("bash"):
        yield from (line.split("#")[0].strip() for line in block.splitlines())
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`((?:python jobs/|make |ray )[^`]+)`", prose)


COMMANDS = sorted(set(commands()))


@cache
def job_help(script: str) -> str:
    done = subprocess.run(
        [sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert words, "make alone"
    assert set(words) <= set(targets), words


def check_job(script: str, words: list[str]) -> None:
    assert (ROOT / script).is_file(), f"{script} does not exist"
    options = [word for word in words if word.startswith("--")]
    for option in options:
        assert re.search(rf"{re.escape(option)}\b", job_help(script)), f"{script} has no {option}"
    if "--config" in options:
        assert (ROOT / words[words.index("--config") + 1]).is_file(), words


def check_ray(words: list[str]) -> None:
    command: click.Command = ray_cli
    while isinstance(command, click.Group):
        known = {name.replace("_", "-"): found for name, found in command.commands.items()}
        assert words[0] in known, f"ray has no command {words[0]}"
        command, words = known[words[0]], words[1:]
    own, _, entry = (" ".join(words)).partition(" -- ")
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in own.split() if word.startswith("--")} <= options, own
    if entry:
        check(shlex.split(entry))


def check(words: list[str]) -> None:
    match words:
        case ["make", *targets]:
            check_make(targets)
        case ["python", script, *rest]:
            check_job(script, rest)
        case ["ray", *rest]:
            check_ray(rest)
        case ["export", assignment]:
            assert re.fullmatch(r"[A-Z_]+=\w+", assignment)
        case _:
            pytest.fail(f"the test does not know what {words} is")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists_with_its_options(command: str) -> None:
    check(shlex.split(command))


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "python jobs/nothing.py",
        "python jobs/show.py --configuration x",
        "python jobs/show.py --config configs/nothing.yaml",
        "ray fly cluster.yaml",
        "ray up --higher cluster.yaml",
        "ray job submit -- python jobs/nothing.py",
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    with pytest.raises(AssertionError):
        check(shlex.split(command))


@pytest.mark.parametrize("block", blocks("yaml"))
def test_a_yaml_block_decodes(block: str) -> None:
    config = decode_config(YAML(typ="safe", pure=True).load(block))
    assert config.inputs.events.columns.user_id == "customer"


@pytest.mark.parametrize("block", blocks("json"))
def test_a_json_block_is_one_line_of_json(block: str) -> None:
    assert {"status", "run_id", "path"} <= json.loads(block).keys()
    assert len(block.splitlines()) == 1


@pytest.mark.parametrize("block", [block for block in blocks("python") if SERVICE not in block])
def test_a_python_block_runs(
    block: str, warehouse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = compile(block, "README.md", "exec")
    if "pyspark" in block and importlib.util.find_spec("pyspark") is None:
        return  # Spark is no dependency: here its block is compiled, and run where pyspark is installed by hand
    monkeypatch.chdir(warehouse.parent)
    exec(code, {"__name__": "readme"})  # noqa: S102 (our own README)
    assert "i0001" in capsys.readouterr().out


@pytest.mark.parametrize("block", blocks("sql"))
def test_an_sql_block_runs(block: str, warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(warehouse.parent)
    with duckdb.connect() as connection:
        statements = duckdb.extract_statements(block)
        answers: list[Any] = [connection.execute(statement).fetchall() for statement in statements]
    _, lists, nights = answers
    assert [(user, rank, item) for user, rank, item, _ in lists] == [("u00007", 1, "i0001"), ("u00007", 2, "i0002")]
    assert [(str(date), *rest) for date, *rest in nights] == [("2026-11-22", "2026-11-22-0123456789ab", 20, 40)]


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_config_reference_is_up_to_date() -> None:
    generator = runpy.run_path(str(ROOT / "tests" / "make_config_reference.py"))
    assert generator["written"](README) == README, "write it anew with `make docs`"
    assert "| `recommend.top_k` | `20` | integer ≥ 1, ≤ 10000 | Length of a list. |" in generator["reference"]()


def test_every_exit_code_of_the_error_tree_is_explained() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    assert explained == {0, 1, 2, 3, 4, 5}
