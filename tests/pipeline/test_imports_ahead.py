"""Modules that a thread imports while the main thread waits for something else."""

import sys
from pathlib import Path

import pytest

from recsys.pipeline.imports_ahead import imported, imports_ahead


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files can be imported; each module notes the thread that imported it."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("ahead_first", "ahead_second"):
        (tmp_path / f"{name}.py").write_text("import threading\nTHREAD = threading.current_thread().name\n")
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    (tmp_path / "ahead_broken.py").write_text("import ahead_nothing\n")
    return tmp_path


def test_a_thread_imports_what_is_named_and_the_caller_gets_it(modules: Path) -> None:
    with imports_ahead(["ahead_first", "ahead_first"]):
        assert imported("ahead_first").THREAD.startswith("imports-ahead")
        assert imported("ahead_second").THREAD == "MainThread"
        assert imported("ahead_first") is sys.modules["ahead_first"]
    assert imported("ahead_first") is sys.modules["ahead_first"]


def test_a_module_that_cannot_be_imported_is_an_error_where_it_is_needed(modules: Path) -> None:
    with imports_ahead(["ahead_broken", "ahead_first"]):
        assert imported("ahead_first").THREAD.startswith("imports-ahead")
        with pytest.raises(ModuleNotFoundError, match="ahead_nothing"):
            imported("ahead_broken")
