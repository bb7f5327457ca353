"""The checks of the machine. That of Ray runs with the job, see tests/jobs/test_doctor.py."""

import importlib.metadata
from pathlib import Path

import pytest

from recsys.pipeline.doctor.diagnose_machine import _compiler, _gpu, _versions
from recsys.settings import Config, decode_config


def config(**sections: object) -> Config:
    inputs = {"events": {"path": "events"}, "items": {"path": "items", "text": "{title}"}}
    return decode_config({"storage": "warehouse", "inputs": inputs, **sections})


def test_versions_are_compared_with_those_that_this_package_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ray" in _versions().found
    monkeypatch.setattr(
        importlib.metadata, "requires", lambda _: ["numpy>=99", "no-such-package", "delta>1; extra == 'delta'"]
    )
    found = _versions()
    assert not found.ok
    assert "numpy is" in found.found
    assert "not >=99; no-such-package is not installed" in found.found
    assert found.way_out == "run `make install`"


def test_a_compiler_is_needed_where_deepspeed_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _compiler(config()).ok
    lacking = _compiler(config(train={"num_workers": 2}))
    assert not lacking.ok
    assert lacking.found == "no C++ compiler and no ninja on the PATH"
    for name in ("c++", "ninja"):
        (tmp_path / name).write_text("#!/bin/sh\necho no headers >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    broken = _compiler(config(train={"num_workers": 2}))
    assert not broken.ok
    assert "does not compile: no headers" in broken.found


def test_a_gpu_is_needed_where_the_config_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert _gpu(config()).ok
    asked = config(encoder={"use_gpu": True}, train={"use_gpu": True})
    lacking = _gpu(asked)
    assert not lacking.ok
    assert lacking.way_out == "set encoder.use_gpu, train.use_gpu to false, or name a Ray with GPUs by RAY_ADDRESS"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert _gpu(asked).ok
