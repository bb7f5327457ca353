"""Make the stored nights of older releases again: `python tests/faults/older/remake.py`, in a clone with all commits.

`stages` is the whole storage of a night, so that it can be opened and served. Of `words`, whose files of signals no
longer have these names, only the records are kept.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from recsys.data.synthetic.shop import make_shop, write_shop

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

#: Folder → commit. `words` has the old names of keys and signals, `stages` the records before they were split by room.
RELEASES = {
    "words": "748e53e10c315fd4b675bc12ef629dcacb8d6d2d",
    "stages": "04259131a89f242bfd102740cb87933c9565b6ba",
}
LEFT_OUT = {
    "words": ("*.html", "train", "encoder-*", "*.parquet", "*.safetensors"),
    "stages": ("*.html", "tensorboard", "quarantine"),
}
END = dt.date(2026, 11, 22)
SETTINGS: dict[str, Any] = {
    "storage": "warehouse",
    "date": END.isoformat(),
    "inputs": {
        "events": {"path": "shop/events", "format": "csv", "columns": {"event": "event"}},
        "items": {"path": "shop/items.parquet", "text": "{title}. {category}", "columns": {"title": "title"}},
    },
    "histories": {"max_length": 10, "shards": 1},
    "encoder": {
        "model": None,
        "scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 300, "pretrain_steps": 2},
    },
    "ranker": {"hidden_size": 16, "layers": 1, "heads": 2},
    "train": {"epochs": 1, "min_steps": 0, "recent_epochs": 0, "refit": False, "batch_size": 32, "cpus_per_worker": 1},
    "recommend": {"top_k": 5, "candidates": 10},
}


def remake(name: str, commit: str) -> None:
    """Publish a night with the code of a commit, and keep its storage."""
    with TemporaryDirectory() as folder:
        code, work = Path(folder, "code"), Path(folder, "work")
        work.mkdir()
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", code, commit], check=True)
        try:
            write_shop(make_shop(num_users=60, num_items=20, num_days=30, seed=5, end=END), work / "shop")
            with (work / "config.yaml").open("w") as stream:
                YAML(typ="safe", pure=True).dump(SETTINGS, stream)
            night = [sys.executable, str(code / "jobs" / "nightly.py"), "--config", "config.yaml"]
            # The report of a published night may fail: it looks for its templates beside the installed release.
            subprocess.run(night, cwd=work, env=os.environ | {"PYTHONPATH": str(code)}, check=False)
            assert (work / "warehouse" / "recommendations" / "LATEST.json").exists(), f"{name}: nothing was published"
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", code], check=True)
        shutil.rmtree(HERE / name, ignore_errors=True)
        shutil.copytree(work / "warehouse", HERE / name, ignore=shutil.ignore_patterns(*LEFT_OUT[name]))


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RELEASES:
        remake(wanted, RELEASES[wanted])
