"""A whole night on an S3 server whose requests fail: 503, a reset, an answer that is late, lost or cut."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import boto3
from moto.server import ThreadedMotoServer

from recsys.storage.filesystem import Storage
from tests.faults.checks import check_output, check_published
from tests.faults.shop import Attempt, Shop
from tests.storage.faulty_server import FaultyServer

#: Share of the requests that fail.
SHARE = 0.05
BUCKET = "faults"
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "secret+of/these-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def fail_inline(shop: Shop, number: int) -> None:
    """One client: the driver does all."""
    _run_night(shop, number, Attempt.inline)


def fail_on_ray(shop: Shop, number: int) -> None:
    """The driver and Ray's workers have clients of their own."""
    _run_night(shop, number, Attempt.on_ray)


def _run_night(shop: Shop, seed: int, start: Callable[..., object]) -> None:
    attempt = shop.attempt(f"s3-{seed}")
    root = f"s3://{BUCKET}/{attempt.folder.name}"
    with faulty_s3() as server:
        Storage(f"s3://{BUCKET}").upload_folder(shop.night_before.root, attempt.folder.name)
        server.spoil(SHARE, seed)
        start(attempt, storage=root, environment=environment_of(server))
        check_output(attempt.nights[-1], 0)
        assert server.num_spoilt > 0.5 * SHARE * server.num_requests, f"{server.num_spoilt} of {server.num_requests}"
        check_published(root, expected=shop.expected)


def environment_of(server: FaultyServer) -> dict[str, str]:
    """Of a night that speaks to the server. The server of processes does not pass on what was set after its start."""
    return {**_CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}"}


@contextmanager
def faulty_s3() -> Iterator[FaultyServer]:
    """An S3 server with a bucket, and the server that fails before it; this process speaks to the first."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else it shows each request
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    server = FaultyServer(host, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    with patch.dict(os.environ, {**_CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}):
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        client.close()
        try:
            yield server
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
            moto.stop()
