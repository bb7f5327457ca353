"""Where S3 cannot be reached, every job ends with one line that says so, and not with a traceback."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recsys import errors
from recsys.errors import StorageError, UnansweredError
from recsys.storage import s3
from tests.conftest import free_ports, tiny_config

#: (exit code, stdout, lines of stderr)
RunAlone = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> RunAlone:
    """Runs a job with a config; S3 is a port at which nothing listens, and each request is sent once."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(s3, "MAX_TRIES", 1)

    def run(job: str, config: dict[str, Any], *arguments: str) -> tuple[int, str, list[str]]:
        path = tmp_path / "config.yaml"
        with path.open("w") as stream:
            YAML(typ="safe", pure=True).dump(config, stream)
        argv = ["--config", str(path), *arguments]
        monkeypatch.setattr(sys, "argv", [f"{job}.py", *argv])
        module = importlib.import_module(f"jobs.{job}")
        code = module.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


def check_line(lines: list[str], path: str) -> None:
    (line,) = lines
    assert f"{path}" in line
    assert "the storage did not answer in" in line
    assert "start the night again" in line


@pytest.mark.parametrize("job", ["nightly", "publish", "show"])
def test_a_job_says_in_one_line_that_its_storage_does_not_answer(job: str, run_alone: RunAlone, tmp_path: Path) -> None:
    arguments = ["--list"] if job == "publish" else []
    code, out, lines = run_alone(job, tiny_config(tmp_path, "s3://shop/warehouse"), *arguments)
    assert code == 1
    check_line(lines, "s3://shop/warehouse")
    if job != "show":
        assert json.loads(out.splitlines()[-1])["status"] == "failed"


def test_so_it_does_for_its_inputs(run_alone: RunAlone, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, tmp_path / "warehouse")
    config["inputs"]["events"]["path"] = "s3://shop/events"
    for date in ("newest", "2026-11-22"):
        code, _, lines = run_alone("nightly", config, "--date", date, "--dry-run")
        assert code == 1
        check_line(lines[-1:], "s3://shop/events")


def test_the_doctor_answers_all_the_same(run_alone: RunAlone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("recsys.pipeline.doctor.diagnose_machine.diagnose_machine", lambda _: [])  # it starts Ray
    config = tiny_config(tmp_path, tmp_path / "warehouse")
    config["inputs"]["events"]["path"] = "s3://shop/events"
    code, out, lines = run_alone("doctor", config, "--date", "newest")
    assert (code, [line for line in lines if "Traceback" in line]) == (1, [])
    found = {check["check"]: check for check in json.loads(out.splitlines()[-1])["checks"]}
    assert not found["date"]["ok"]
    assert "s3://shop/events: the storage did not answer" in found["date"]["found"]


def test_the_error_passes_from_a_worker_as_it_is() -> None:
    """`for_each_part` makes it from its name and message; retries look for a ConnectionError."""
    error = errors.UnansweredError("s3://shop: no answer", {"figure": 1})
    assert isinstance(error, StorageError)
    assert isinstance(error, ConnectionError)
    assert (str(error), error.details, error.exit_code) == ("s3://shop: no answer", {"figure": 1}, 1)
    assert type(error) is getattr(errors, UnansweredError.__name__)
