"""The blocks of docs/python-tour.md, in their order, over a finished night."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.docs.pages import ROOT, blocks


def test_the_tour_runs(one_night: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shutil.copytree(one_night[0], tmp_path / "demo/warehouse")
    tour = [block.text for block in blocks("python") if block.title.startswith("tour/")]
    assert len(tour) == 5
    done = subprocess.run(  # in a process of its own: the signal that it registers would stay
        [sys.executable, "-c", "\n".join(tour)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    assert one_night[1]["model_id"] in printed
    assert "reason" in printed
    assert "base" in printed
    assert len([line for line in printed.splitlines() if line.startswith("1 ")]) == 2
