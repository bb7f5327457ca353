"""Starts, watches and stops the live service and its peer, each as a process on a free port of loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from quality import HERE, ROOT, say
from serve_nights import Nights

START_S, STOP_S = 300, 90


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server."""

    url: str
    process: "subprocess.Popen[bytes]"

    def state(self) -> dict[str, Any]:
        """The answer of `/readyz`; {"ready": False} without an answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as answer:  # noqa: S310 (it is ours)
                state: dict[str, Any] = json.load(answer)
                return state
        except (urllib.error.URLError, OSError):
            return {"ready": False}

    def processes(self) -> list[psutil.Process]:
        """The process of the server and its descendants."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def rankers(self) -> list[psutil.Process]:
        """The replicas with the ranker."""
        found = []
        for process in self.processes():
            try:
                if "".join(process.cmdline()[:1]).startswith("ray::ServeReplica:recsys:service"):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found


def memory_mb(processes: Iterable[psutil.Process]) -> float:
    """RSS of processes in MB. Shared pages count once for each process."""
    held = 0
    for process in processes:
        try:
            held += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return held / 2**20


@contextmanager
def service(nights: Nights, **settings: object) -> Iterator[Server]:
    """Serve a warehouse. ``settings`` are keys of the config section `serve`."""
    changes = [word for name, value in settings.items() for word in ("--set", f"serve.{name}={value}")]
    command = ["jobs/serve.py", "--config", str(nights.config), *changes]
    with _server(command, lambda port: ["--set", f"serve.port={port}"], nights.config.parent / "service.log") as server:
        yield server


@contextmanager
def peer(nights: Nights) -> Iterator[Server]:
    """Serve a warehouse with the peer."""
    command = [str(HERE / "serve_peer.py"), str(nights.config)]
    with _server(command, lambda port: [str(port)], nights.config.parent / "peer.log") as server:
        yield server


@contextmanager
def _server(command: list[str], at_port: Any, log: Path) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "local"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command, *at_port(port)], cwd=ROOT, env=environment, stdout=file, stderr=file
        )
    server = Server(url=f"http://127.0.0.1:{port}", process=process)
    try:
        _await_ready(server, log)
        yield server
    finally:
        _stop(server)


def _await_ready(server: Server, log: Path) -> None:
    end = time.monotonic() + START_S
    while not server.state()["ready"]:
        if server.process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the server did not start; {log} ends with:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def _stop(server: Server) -> None:
    """Stop the server as Ctrl-C does, then kill what is left."""
    if server.process.poll() is not None:
        return
    whole = server.processes()
    server.process.send_signal(signal.SIGINT)
    try:
        server.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        say("the server did not stop after SIGINT and is killed")
        server.process.kill()
        server.process.wait()
    _, alive = psutil.wait_procs(whole[1:], timeout=10)
    for process in alive:
        process.kill()
