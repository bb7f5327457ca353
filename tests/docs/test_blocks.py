"""Code blocks of README and docs: they are run, decoded, or checked against the commands that they name.

Blocks that ask the live service run in tests/serving/test_client.py. Blocks of docs/extending.md with a file name run
in tests/docs/test_extending.py, and those of docs/recipes.md in tests/docs/test_recipes.py.
"""

import importlib
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from ray.scripts.scripts import cli as ray_cli
from ruamel.yaml import YAML

from recsys.settings import decode_config
from tests.docs.pages import PAGES, ROOT, Block, blocks, prose

#: Where the pages say that the live service is.
SERVICE = "http://127.0.0.1:8000"
#: What every language of a block is checked by; a new language needs a check.
CHECKED = {"bash", "console", "json", "pycon", "python", "sh", "sql", "text", "yaml"}
#: Configs that readers write themselves.
OWN_FILES = ("recsys.yaml", "demo/demo.yaml", "shop.yaml")
RECIPES = "docs/recipes.md"
INPUTS = {"events": {"path": "events"}, "items": {"path": "items", "text": "{title}"}}


def commands() -> Iterator[str]:
    """Every line of the bash blocks, and every `python jobs/…`, `make …` and `ray …` between backticks."""
    for block in blocks("bash"):
        yield from (line.split(" #")[0].strip() for line in block.text.splitlines())
    for page in PAGES:
        yield from re.findall(r"`((?:python jobs/|make |ray |recsys )[^`…]+)`", prose(page))


COMMANDS = sorted(set(commands()))


@cache
def options_of(script: str) -> frozenset[str]:
    """Options of a job, as its own `--help` lists them."""
    job = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr("sys.argv", [script, "--help"])
        patch.setattr("sys.stdout.write", written.append)
        with pytest.raises(SystemExit):
            job.main()
    return frozenset(re.findall(r"--[a-z][a-z-]*", "".join(written)))


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert words, "make alone"
    assert {word for word in words if "=" not in word} <= set(targets), words


def check_job(script: str, words: list[str]) -> None:
    assert (ROOT / script).is_file(), f"{script} does not exist"
    options = [word for word in words if word.startswith("--")]
    unknown = [option for option in options if option not in options_of(script)]
    assert not unknown, f"{script} has no {unknown}"
    if "--config" in options and words[words.index("--config") + 1] not in OWN_FILES:
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
        case ["PYTHONPATH=$PWD", *rest]:
            check(rest)
        case ["make", *targets]:
            check_make(targets)
        case ["python", script, *rest] if script.startswith("jobs/"):
            check_job(script, rest)
        case ["python", script]:
            assert (ROOT / script).is_file(), f"{script} does not exist"
        case ["recsys", "--help"]:
            pass
        case ["recsys", job, *rest]:
            check_job(f"jobs/{job}.py", rest)
        case ["pip", "install", *_] | ["tensorboard", "--logdir", _]:
            pass
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
        "recsys nothing",
        "python jobs/show.py --config configs/nothing.yaml",
        "ray fly cluster.yaml",
        "ray up --higher cluster.yaml",
        "ray job submit -- python jobs/nothing.py",
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    with pytest.raises(AssertionError):
        check(shlex.split(command))


def test_every_block_has_a_language_that_is_checked() -> None:
    for page in PAGES:
        fences = re.findall(r"^ *```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert {fence.split(" ")[0] for fence in fences[::2]} <= CHECKED, page.name
        assert set(fences[1::2]) <= {""}, f"{page.name} has a fence that is not closed"


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if "plugins:" not in block.text], ids=str)
def test_a_yaml_block_decodes(block: Block) -> None:
    decode_config({"inputs": INPUTS, **YAML(typ="safe", pure=True).load(block.text)})


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_a_json_block_is_one_line_of_json(block: Block) -> None:
    assert {"status", "run_id", "path"} <= json.loads(block.text).keys()
    assert len(block.text.splitlines()) == 1


@pytest.mark.parametrize(
    "block",
    [block for block in blocks("python") if SERVICE not in block.text and not block.title and block.page != RECIPES],
    ids=str,
)
def test_a_python_block_runs(
    block: Block, warehouse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = compile(block.text, str(block), "exec")
    monkeypatch.chdir(warehouse.parent)
    exec(code, {"__name__": "page"})  # noqa: S102 (our own pages)
    assert "i0001" in capsys.readouterr().out


def test_sql_is_on_the_page_whose_blocks_are_run() -> None:
    assert {block.page for block in blocks("sql")} == {RECIPES}


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", prose(ROOT / "README.md"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_every_exit_code_of_the_error_tree_is_explained() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d) \|", operations, re.MULTILINE)} == {0, 1, 2, 3, 4, 5}
