"""The launcher changes Ray's configuration of HAProxy, and HAProxy accepts it."""

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recsys.serving import haproxy_launcher
from tests.conftest import free_ports

#: The relevant parts of the configuration that Ray 2.60 writes.
RAY_CONFIG = """global
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
    """`recsys-haproxy -c`: HAProxy only checks its configuration."""
    launcher = Path(sys.executable).with_name(haproxy_launcher.LAUNCHER)
    command = [str(launcher), "-c", "-f", str(config)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_haproxy_accepts_the_changed_configuration(tmp_path):
    config = tmp_path / "haproxy.cfg"
    config.write_text(RAY_CONFIG)
    done = launch(config, **{haproxy_launcher.MAX_IN_FLIGHT_VARIABLE: "7"})
    assert done.returncode == 0, done.stderr
    assert haproxy_launcher.LAUNCHER not in done.stderr
    assert config.read_text() == RAY_CONFIG
    assert config.with_suffix(".recsys.cfg").read_text() == haproxy_launcher.amend_config(RAY_CONFIG, 7)


@pytest.mark.parametrize(
    ("text", "limit"), [(RAY_CONFIG, "many"), (RAY_CONFIG.replace("http_frontend", "http_in"), "7")]
)
def test_a_configuration_that_cannot_be_changed_is_used_without_changes(tmp_path, text, limit):
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    done = launch(config, **{haproxy_launcher.MAX_IN_FLIGHT_VARIABLE: limit})
    assert done.returncode == 0, done.stderr
    assert f"{haproxy_launcher.LAUNCHER}: {config} is used without changes" in done.stderr


def test_haproxy_ends_with_the_process_that_started_it(tmp_path):
    (port,) = free_ports(1)
    config = tmp_path / "haproxy.cfg"
    config.write_text(RAY_CONFIG.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    launcher = Path(sys.executable).with_name(haproxy_launcher.LAUNCHER)
    starter = (
        "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); print(child.pid, flush=True); child.wait()"
    )
    command = [sys.executable, "-c", starter, str(launcher), "-db", "-f", str(config)]
    with subprocess.Popen(
        command, env=os.environ | {haproxy_launcher.MAX_IN_FLIGHT_VARIABLE: "7"}, stdout=subprocess.PIPE, text=True
    ) as parent:
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


def test_requests_for_lists_are_limited_and_haproxys_own_pages_are_removed():
    changed = haproxy_launcher.amend_config(RAY_CONFIG, 7)
    assert "status 429" in changed
    assert "be_conn(http-recsys),div(txn.recsys_replicas) ge 7" in changed
    assert "9101" not in changed
    assert "8404" not in changed
    before_any_replica = haproxy_launcher.amend_config(
        RAY_CONFIG.replace("backend http-recsys", "backend default_backend"), 7
    )
    assert "status 429" not in before_any_replica


def test_no_other_user_can_open_the_admin_socket():
    environment = haproxy_launcher.haproxy_environment("127.0.0.1", 7)
    folder = Path(environment["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert environment == haproxy_launcher.haproxy_environment("127.0.0.1", 7), "one HAProxy for each process"
    assert environment[haproxy_launcher.MAX_IN_FLIGHT_VARIABLE] == "7"


def test_an_ipv6_address_has_no_haproxy():
    assert haproxy_launcher.haproxy_environment("::1", 7) == {}
