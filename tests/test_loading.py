"""Nothing that is read from a storage, a hub or an input runs code: a look at the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Modules whose readers run code of what they read, or shells.
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib.load", "yaml"}
FILES = sorted(path for folder in ("recsys", "jobs") for path in (ROOT / folder).rglob("*.py"))


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def calls(path: Path, name: str) -> Iterator[tuple[ast.Call, dict[str, object]]]:
    """The calls of a function or method, with those keyword arguments that are constants."""
    for node in nodes(path):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name:
            yield node, {each.arg or "": getattr(each.value, "value", None) for each in node.keywords}


def test_no_module_that_unpickles_is_imported() -> None:
    found = [
        f"{path}: {name.name}"
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
        if {name.name, getattr(node, "module", "") or ""} & UNSAFE_MODULES
    ]
    assert found == []


@pytest.mark.parametrize("name", ["eval", "exec", "system", "popen"])
def test_no_text_is_run(name: str) -> None:
    found = [
        f"{path}: {ast.unparse(call)}"
        for path in FILES
        for call, _ in calls(path, name)
        if not (name == "eval" and isinstance(call.func, ast.Attribute))  # `model.eval()`
    ]
    assert found == []


def test_torch_reads_its_files_without_pickled_objects() -> None:
    """DeepSpeed, which unpickles, reads only checkpoints of its own run: it loads them by `load_checkpoint`."""
    found = [(path.name, arguments.get("weights_only")) for path in FILES for _, arguments in _torch_loads(path)]
    assert found == [("engine_torch.py", True)]
    assert [path.name for path in FILES if any(calls(path, "load_checkpoint"))] == ["engine_deepspeed.py"]


def _torch_loads(path: Path) -> Iterator[tuple[ast.Call, dict[str, object]]]:
    return ((call, given) for call, given in calls(path, "load") if ast.unparse(call.func) == "torch.load")


def test_pretrained_models_bring_no_code() -> None:
    """Configs, tokenizers and models are loaded without remote code, and weights only from safetensors."""
    found = 0
    for path in FILES:
        for call, given in calls(path, "from_pretrained"):
            found += 1
            words = f"{path}: {ast.unparse(call)}"
            if "Auto" in ast.unparse(call.func):
                assert given.get("trust_remote_code") is False, words
            if "model" in ast.unparse(call.func).lower():
                assert given.get("use_safetensors") is True, words
    assert found >= 4
