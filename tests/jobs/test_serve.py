"""The command line of the live service; the service itself is tested in tests/serving."""

import hashlib
import json
import os
import re
import signal
import socket
import threading
import time

import pytest
from ray.serve.schema import ServeDeploySchema
from ruamel.yaml import YAML

from jobs.serve import app, wait_for_signal
from jobs.start_service import require_free_port
from recsys.errors import ConfigError
from tests.jobs.conftest import RunJob, WriteConfig


def test_a_key_is_shown_once_and_only_its_hash_is_kept(
    write_config: WriteConfig, run_job: RunJob, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = run_job("serve", "--config", write_config(), "--new-key", "search")
    assert (code, answer["status"]) == (0, "made")
    key, line = re.findall(r"(?:once|file): (.+)", capsys.readouterr().err)
    entry = json.loads(line.removeprefix("- "))
    assert entry == {"name": "search", "sha256": hashlib.sha256(key.encode()).hexdigest()}


def test_without_a_published_night_it_says_what_to_do(write_config: WriteConfig, run_job: RunJob) -> None:
    code, answer = run_job("serve", "--config", write_config())
    assert code == 3
    assert "run jobs/nightly.py" in answer["error"]


def test_keys_that_cannot_be_used_stop_it_before_anything_starts(
    write_config: WriteConfig, run_job: RunJob, tmp_path
) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("- {name: search}")
    code, answer = run_job("serve", "--config", write_config(serve={"keys_file": str(keys)}))
    assert code == 2
    assert "sha256" in answer["error"]


def test_the_file_for_serve_deploy_names_the_config(write_config: WriteConfig, run_job: RunJob, tmp_path) -> None:
    config = write_config(serve={"port": 8123})
    path = tmp_path / "serve.yaml"
    code, answer = run_job("serve", "--config", config, "--set", "serve.replicas=2", "--deploy-file", path)
    assert (code, answer["path"]) == (0, str(path))
    schema = ServeDeploySchema(**YAML(typ="safe", pure=True).load(path))
    assert schema.http_options.port == 8123
    (application,) = schema.applications
    assert application.import_path == "jobs.serve:app"
    assert application.args == {"config": str(config), "set": ["serve.replicas=2"]}
    assert app(application.args)._bound_deployment.name == "service"
    assert app({"config": str(config), "set": "serve.replicas=2"})._bound_deployment.name == "service", "one text"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_waits_for_either_signal_also_where_they_are_ignored(number: signal.Signals) -> None:
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}

    def send() -> None:
        while signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
            time.sleep(0.001)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        wait_for_signal()
    finally:
        sender.join()
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_port_on_which_another_program_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"serve\.port={port}: the service cannot listen there \(.*in use"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)
