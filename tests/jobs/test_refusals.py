"""A bad config and a missing input are refused before anything slow is imported, and nothing is written."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: Libraries that take seconds to import or to start.
SLOW = ("ray", "torch", "transformers", "deepspeed", "sklearn", "joblib")
CODE = f"""
import json, sys
from jobs.{{job}} import main
for options in json.loads(sys.argv.pop()):
    sys.argv[1:] = options
    print(main(), sorted(set({SLOW}) & set(sys.modules)))
"""


def start(job: str, config: Path, *all_options: list[str]) -> list[tuple[dict[str, Any], str]]:
    """Of starts in one process that end at once: the JSON, then exit code and slow libraries imported so far."""
    starts = json.dumps([["--config", str(config), *options] for options in all_options])
    command = [sys.executable, "-c", CODE.format(job=job), starts]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = ended.stdout.strip().splitlines()
    return [(json.loads(answer), outcome) for answer, outcome in zip(lines[::2], lines[1::2], strict=True)]


@pytest.mark.parametrize("job", ["nightly", "finetune", "evaluate"])
def test_nothing_slow_is_imported_for_a_refusal(job, write_config, tmp_path):
    events = tmp_path / "nowhere"
    options = [["--set", "recommend.topk=5"], ["--set", f"inputs.events.path={events}"]]
    (key, first), (path, second) = start(job, write_config(), *options)
    assert key["error"] == "recommend.topk: unknown key; did you mean top_k?"
    assert first == "2 []"
    assert str(events) in path["error"]
    assert second == "3 []"
    assert not (tmp_path / "warehouse").exists()


def test_a_key_is_made_without_what_is_slow_to_import(write_config):
    ((made, outcome),) = start("serve", write_config(), ["--new-key", "shop"])
    assert (made["status"], outcome) == ("made", "0 []")


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a job in this process; answers its error, after its exit code was found to be that of a wrong command."""

    def run(job: str, *options: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [f"{job}.py", *map(str, options)])
        code = importlib.import_module(f"jobs.{job}").main()
        answer = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        assert (code, answer["status"]) == (2, "refused"), answer
        error: str = answer["error"]
        return error

    return run


@pytest.mark.parametrize("past", [("--realized",), ("--compare", "diversity")])
@pytest.mark.parametrize(
    "other", [("--run", "2026-11-22-x"), ("--protocol", "time"), ("--max-users", "5"), ("--date", "newest")]
)
def test_past_nights_and_a_model_are_not_measured_together(past, other, write_config, refused):
    error = refused("evaluate", "--config", write_config(), *past, *other)
    assert error.startswith(f"{other[0]}: not together with {past[0]}, ")


@pytest.mark.parametrize("words", [("explain", "u1"), ("publish", "--list"), ("serve",), ("compress",)])
def test_a_job_that_reads_what_is_published_takes_no_date(words, write_config, monkeypatch, capsys):
    """It would say nothing of the night of that day."""
    monkeypatch.setattr(sys, "argv", [*words, "--config", str(write_config()), "--date", "2026-11-22"])
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"jobs.{words[0]}").main()
    assert "unrecognized arguments: --date" in capsys.readouterr().err


def test_an_empty_run_id_is_not_taken_for_none(write_config, refused):
    assert refused("evaluate", "--config", write_config(), "--run", "").startswith("run id '': must look like")


def test_a_file_for_serve_deploy_that_cannot_be_written_is_named(write_config, refused, tmp_path):
    path = tmp_path / "nowhere" / "serve.yaml"
    assert refused("serve", "--config", write_config(), "--deploy-file", path).startswith(f"--deploy-file {path}: ")


def test_the_doctor_answers_for_a_path_that_is_no_text():
    code = "import sys; from jobs.doctor import main; sys.exit(main())"
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}  # refuses such characters on stdout, as a terminal's does
    command = [sys.executable, "-c", code, "--config", "shop\udcff.yaml"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 1
    assert "cannot be read" in json.loads(ended.stdout.splitlines()[-1])["checks"][0]["found"]
