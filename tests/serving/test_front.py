"""Ray's configuration of HAProxy is amended, and HAProxy takes it."""

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recsys.serving import front
from tests.conftest import free_ports

#: The parts that matter of what Ray 2.60 writes.
OF_RAY = """global
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    timeout server 60s
frontend prometheus
    bind :9101
    http-request use-service prometheus-exporter if { path /metrics }
frontend http_frontend
    bind 127.0.0.1:8000
    use_backend http-recsys if { path_beg / }
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain string "no"
backend http-recsys
    server one 127.0.0.1:30000 check
    server other 127.0.0.1:8500 check backup
listen stats
  bind *:8404
  stats enable
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ray[serve] brings HAProxy for Linux only")


def launch(config: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`recsys-front -c`: HAProxy only checks what it is given."""
    launcher = Path(sys.executable).with_name(front.LAUNCHER)
    command = [str(launcher), "-c", "-f", str(config)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_haproxy_takes_what_is_written(tmp_path):
    config = tmp_path / "haproxy.cfg"
    config.write_text(OF_RAY)
    done = launch(config, **{front.LIMIT: "7"})
    assert done.returncode == 0, done.stderr
    assert front.LAUNCHER not in done.stderr
    assert config.read_text() == OF_RAY
    assert config.with_suffix(".recsys.cfg").read_text() == front.amended(OF_RAY, 7)


@pytest.mark.parametrize(("text", "limit"), [(OF_RAY, "many"), (OF_RAY.replace("http_frontend", "http_in"), "7")])
def test_what_cannot_be_amended_is_used_as_it_is(tmp_path, text, limit):
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    done = launch(config, **{front.LIMIT: limit})
    assert done.returncode == 0, done.stderr
    assert f"{front.LAUNCHER}: {config} is used as it is" in done.stderr


def test_it_ends_with_whoever_started_it(tmp_path):
    (port,) = free_ports(1)
    config = tmp_path / "haproxy.cfg"
    config.write_text(OF_RAY.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    launcher = Path(sys.executable).with_name(front.LAUNCHER)
    starter = (
        "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); print(child.pid, flush=True); child.wait()"
    )
    command = [sys.executable, "-c", starter, str(launcher), "-db", "-f", str(config)]
    with subprocess.Popen(command, env=os.environ | {front.LIMIT: "7"}, stdout=subprocess.PIPE, text=True) as parent:
        haproxy = psutil.Process(int(parent.stdout.readline()))
        end = time.monotonic() + 60
        while not _answers(port):
            assert time.monotonic() < end
        parent.kill()
    haproxy.wait(timeout=60)
    assert not _answers(port)


def _answers(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_it_limits_what_is_ranked_and_shows_nothing_of_itself():
    told = front.amended(OF_RAY, 7)
    assert "status 429" in told
    assert "be_conn(http-recsys),div(txn.recsys_replicas) ge 7" in told
    assert "9101" not in told
    assert "8404" not in told
    before_any_replica = front.amended(OF_RAY.replace("backend http-recsys", "backend default_backend"), 7)
    assert "status 429" not in before_any_replica


def test_its_files_are_for_nobody_else():
    environment = front.environment("127.0.0.1", 7)
    folder = Path(environment["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert environment == front.environment("127.0.0.1", 7), "one front a process"
    assert environment[front.LIMIT] == "7"


def test_an_address_that_haproxy_does_not_reach_has_no_front():
    assert front.environment("::1", 7) == {}
