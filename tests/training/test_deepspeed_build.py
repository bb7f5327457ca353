"""A build that was killed leaves a mark; the next one must not wait for it."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.cpp_extension import get_default_build_root

from recsys.training.deepspeed_build import turn_to_build

BUILD = """
import sys
from recsys.training.deepspeed_build import turn_to_build
print("asks", flush=True)
with turn_to_build("some_op"):
    print("builds", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    return tmp_path


def marked(root: Path, name: str) -> Path:
    folder = root / "py311_cpu" / name
    folder.mkdir(parents=True)
    mark = folder / "lock"
    mark.touch()
    return mark


def test_the_mark_of_a_build_that_was_cut_off_is_taken_away(root: Path) -> None:
    mark, others = marked(root, "some_op"), marked(root, "another_op")
    with turn_to_build("some_op"):
        assert not mark.exists()
    assert others.exists(), "somebody may be at it"


def test_while_one_builds_the_next_waits_and_a_killed_one_gives_its_turn_back(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", BUILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        with turn_to_build("some_op"):
            mark = marked(root, "some_op")
            assert other.stdout.readline() == b"asks\n"
            assert not select.select([other.stdout], [], [], 0.5)[0]
            assert mark.exists()
        assert other.stdout.readline() == b"builds\n"
        assert not mark.exists()
        other.kill()
        with turn_to_build("some_op"):
            assert other.wait() < 0


def test_training_does_not_wait_for_a_build_that_was_killed() -> None:
    command = [sys.executable, "-c", "from recsys.training.deepspeed_build import load_extensions; load_extensions()"]
    subprocess.run(command, check=True, timeout=300)
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    marks = [folder / "lock" for folder in root.glob("**/deepspeed_shm_comm*") if folder.is_dir()]
    assert marks, "nothing was compiled"
    for mark in marks:
        mark.touch()
    subprocess.run(command, check=True, timeout=300)
    assert not any(mark.exists() for mark in marks)
