"""Machine code that is kept on disk is that of today's source.

Numba keeps the code of a function until the function's own file changes. Functions of other files are part of it, and
their changes are not seen: after an upgrade the new `best_items` would not run inside of a file that stayed the same.
So a file names each other file whose functions it compiles in, with a digest of its source.
"""

import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

ROOT = Path(__file__).parent.parent
FILES = [
    path
    for path in (ROOT / "recsys").rglob("*.py")
    if "from recsys.compiled import" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_names_the_source_that_it_compiles_in(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    compiled = [each for each in vars(module).values() if isinstance(each, Dispatcher)]
    called = {name for each in compiled if each.__module__ == module.__name__ for name in each.__code__.co_names}
    others = {each.__module__ for each in compiled if each.__module__ != module.__name__ and each.__name__ in called}
    for other in sorted(others):
        source = Path(importlib.import_module(other).__file__ or "").read_bytes()
        line = f"# Compiled in, see tests/test_compiled.py: {other} {hashlib.sha256(source).hexdigest()[:12]}\n"
        assert line in path.read_text(encoding="utf-8"), (
            f"{other} was changed: write into {path.relative_to(ROOT)}: {line}"
        )


def test_a_change_of_another_file_is_not_seen(tmp_path: Path) -> None:
    """Why the files name what they compile in; once numba sees such changes, the lines can go."""
    inner, outer = tmp_path / "inner.py", tmp_path / "outer.py"
    head = "from recsys.compiled import compiled\n"
    inner.write_text(f"{head}@compiled\ndef one(x: int) -> int:\n    return x + 1\n")
    outer.write_text(f"{head}from inner import one\n@compiled\ndef two(x: int) -> int:\n    return 10 * one(x)\n")

    def run() -> str:
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import outer; print(outer.two(1))"
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    assert run() == "20"
    inner.write_text(inner.read_text().replace("x + 1", "x + 5"))
    assert run() == "20"
    outer.write_text(outer.read_text() + "# changed\n")
    assert run() == "60"
