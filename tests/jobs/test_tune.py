"""`jobs/tune.py` on a tiny shop: two trials, chosen by validation, and its answers when it is started again."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from recsys.pipeline.training.run_trials import TrialResult, run_trials, trial_config
from recsys.settings import load_config
from tests.jobs.conftest import RunJob, WriteConfig

ROOT = Path(__file__).parents[2]
TRAIN = {"epochs": 1, "min_steps": 0, "recent_epochs": 0}
TUNE = {"trials": 2, "space": {"ranker.dropout": [0.4]}}


def interrupt_first_trial(config: Path, storage: Path) -> None:
    """Start a tuning in a process of its own, and send it Ctrl-C while the first trial trains."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "jobs/tune.py", "--config", config]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(storage.glob("runs/*-0/stages/finetune/start.json")):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        process.send_signal(signal.SIGINT)  # nothing happens where it has ended
        output, _ = process.communicate(timeout=100)
    assert (process.returncode, json.loads(output)["status"]) == (1, "interrupted")


def test_two_trials_and_the_best_config(
    write_config: WriteConfig, run_job: RunJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(train=TRAIN, tune=TUNE)
    interrupt_first_trial(path, tmp_path / "warehouse")
    assert not list((tmp_path / "warehouse").glob("tune/*/results.json")), "there are more trials to run"
    code, answer = run_job("tune", "--config", path)
    assert (code, answer["status"]) == (0, "tuned"), answer
    results = [TrialResult(**result) for result in json.loads(Path(answer["path"], "results.json").read_text())]
    assert [result.overrides for result in results] == [{}, {"ranker.dropout": 0.4}]
    assert [result.error for result in results] == ["", ""]
    best = max(results, key=lambda result: result.ndcg)
    assert answer["validation_ndcg@10"] == best.ndcg > 0
    assert answer["without_changes"] == results[0].ndcg
    config = load_config(answer["config"])
    assert config == trial_config(load_config(path), best.overrides)
    files = [str(path) for path in (tmp_path / "warehouse").rglob("*") if path.is_file()]
    assert not [path for path in files if "/models/ranker-" in path or "/runs/" in path], (
        "of the trials only results stay"
    )
    assert not [path for path in files if "/recommendations/" in path], "nothing is published"

    code, again = run_job("tune", "--config", path)
    assert (code, again) == (0, answer), "a finished tuning answers at once"

    from jobs.tune import OF_TRIAL, _base_run

    # The start that wrote the results may have been killed before it deleted the rest.
    base = _base_run(load_config(path))
    rest = (base.folder.start_path, f"{base.folder.histories_dir}/x", f"models/ranker-{base.folder.run_id}-1/x")
    for name in rest:
        base.storage.write_bytes(name, b"{}")
    assert run_job("tune", "--config", path) == (0, answer)
    assert not [name for name in rest if base.storage.exists(name)]

    # Ray Tune has kept the results, so a tuning that was stopped before its end asks for no trial again.
    capsys.readouterr()
    assert run_trials(base, OF_TRIAL, [result.overrides for result in results], 1) == results
    assert capsys.readouterr().out == ""
    assert not [path for path in (tmp_path / "warehouse/runs").rglob("*") if path.is_file()], "no trial has run again"


def test_the_table_shows_errors_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.tune import _print

    fine = TrialResult(number=0, overrides={}, ndcg=0.1, ranker_ndcg=0.1, epochs=1, seconds=2.0)
    failed = replace(fine, number=1, overrides={"ranker.model": "./[a]"}, ndcg=0.0, error="no [/data] here")
    _print([asdict(fine), asdict(failed)], asdict(fine))
    shown = " ".join(capsys.readouterr().err.split())
    assert "./[a]" in shown
    assert "no [/data] here" in shown


def test_an_encoder_that_is_trained_before_the_trials_is_refused(write_config: WriteConfig, run_job: RunJob) -> None:
    code, answer = run_job("tune", "--config", write_config(), "--set", "encoder.train=baskets")
    assert code == 2
    assert "tune with encoder.train=frozen" in answer["error"]
