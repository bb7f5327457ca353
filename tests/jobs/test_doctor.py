"""The command line of the doctor: its lines, its last line, and its exit codes."""

from pathlib import Path

import pytest


def test_a_good_machine_and_good_inputs_are_ok(write_config, run_job, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = run_job("doctor", "--config", write_config(), "--set", "inputs.max_quarantine_rate=0.2")
    lines = capsys.readouterr().err.splitlines()
    assert (code, answer["status"]) == (0, "ok"), answer
    checks = ["config", "versions", "compiler", "GPU", "Ray", "storage", "free space", "items", "events"]
    assert [check["check"] for check in answer["checks"]] == checks
    assert [line[7:18].strip() for line in lines if line.startswith("ok ")] == checks
    assert "ran a task" in next(check["found"] for check in answer["checks"] if check["check"] == "Ray")


def test_a_wrong_config_is_to_do_and_nothing_else_is_checked(write_config, run_job, tmp_path: Path) -> None:
    code, answer = run_job("doctor", "--config", write_config(), "--set", "recommend.top_k=0")
    assert (code, answer["status"]) == (1, "not_ok")
    (check,) = answer["checks"]
    assert check["found"] == "recommend.top_k: must be ≥ 1, got 0"
    assert not (tmp_path / "warehouse").exists()
