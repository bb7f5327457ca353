"""The program `recsys` of a wheel, in an environment that has no checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jobs.__main__ import job_summaries, main
from tests.conftest import tiny_config

ROOT = Path(__file__).parents[2]
#: What goes into a wheel.
SOURCES = ("recsys", "jobs", "configs", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`recsys`, installed from a wheel into a virtual environment that finds our dependencies, but not the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()  # building writes beside the sources
    ignore = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder, source],
        check=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    subprocess.run(
        [*pip, "--python", folder / "env/bin/python", "install", "--no-deps", "--no-index", wheel], check=True
    )
    # A path in a .pth file is not searched for other .pth files: the editable install of the checkout stays unknown.
    (packages,) = (folder / "env/lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env/bin/recsys"


def run(program: Path, folder: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run the program in a folder, as somebody who has never seen the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([program, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_every_job_is_a_command(program: Path, tmp_path: Path) -> None:
    done = run(program, tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    for name, summary in job_summaries().items():
        assert f"  {name} " in done.stdout
        assert summary.endswith(".")


def test_a_first_config_and_the_plan_of_its_night(program: Path, tmp_path: Path, shop: Path) -> None:
    done = run(program, tmp_path, "init", "--events", shop / "events", "--items", shop / "items.parquet")
    assert done.returncode == 0, done.stderr
    done = run(program, tmp_path, "nightly", "--config", "recsys.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "planned"


def test_the_demo_makes_its_shop_and_shows_its_finished_night(
    program: Path, tmp_path: Path, shop: Path, one_night: tuple[Path, dict[str, Any]]
) -> None:
    demo = tmp_path / "demo"
    shutil.copytree(one_night[0], demo / "warehouse")
    with (demo / "demo.yaml").open("w") as stream:
        YAML(typ="safe", pure=True).dump(tiny_config(shop, "./demo/warehouse"), stream)
    done = run(program, tmp_path, "demo")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["status"], answer["run_id"]) == ("already_published", one_night[1]["run_id"])
    assert done.stdout.count("user u") >= 3
    assert len(list((demo / "data/events").iterdir())) == 90


def test_the_wheel_has_the_config_of_the_demo(program: Path) -> None:
    (config,) = program.parents[1].glob("lib/python*/site-packages/jobs/demo.yaml")
    assert config.read_text() == (ROOT / "configs/demo.yaml").read_text()


def test_an_unknown_job_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "recsys has no job 'nothing'" in capsys.readouterr().err
    assert main([]) == 2
    assert main(["--version"]) == 0
