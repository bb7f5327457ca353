"""Reset connections, cut answers and 503 SlowDown of a storage: tried again, up to a limit."""

import contextlib
import gc
import http.client
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from recsys.data.config import TableInput
from recsys.data.files.find_files import list_files
from recsys.data.files.read_tasks import ReadTask
from recsys.data.files.readers import read_chunks
from recsys.errors import RecsysError
from recsys.pipeline.inputs.input_parts import read_part
from recsys.storage.addresses import open_input
from recsys.storage.filesystem import Storage
from tests.storage.conftest import BUCKET
from tests.storage.faulty_server import FaultyServer

CONTENT = b"user,item\n" + b"ann,lamp\n" * 40_000
FAULTS = ("reset", "503", "cut", "lost")


@pytest.fixture(scope="module")
def server(s3_endpoint: str) -> Iterator[FaultyServer]:
    address = urlsplit(s3_endpoint)
    server = FaultyServer(str(address.hostname), int(address.port or 0))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def storage(server: FaultyServer) -> Storage:
    server.faults, server.num_spoilt = [], 0
    storage = Storage(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    storage.write_bytes("a.csv", CONTENT)
    return storage


@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_outlives_two_faults(fault: str, server: FaultyServer, storage: Storage, tmp_path: Path) -> None:
    def try_with_faults(call: Any, expected: Any = None) -> None:
        server.faults = [fault, fault]
        found = call()
        if fault != "cut":  # an answer without content cannot be cut
            assert server.faults == [], "the call sent fewer requests than there are faults"
        server.faults = []
        if expected is not None:
            assert found == expected

    def write_file() -> None:
        with storage.new_file("c.bin") as file:
            file.path.write_bytes(CONTENT)

    def copy_file() -> bytes:
        with storage.local_file("a.csv") as path:
            return path.read_bytes()

    try_with_faults(lambda: storage.read_bytes("a.csv"), CONTENT)
    try_with_faults(lambda: storage.write_bytes("b.bin", CONTENT))
    assert storage.read_bytes("b.bin") == CONTENT
    try_with_faults(write_file)
    assert storage.read_bytes("c.bin") == CONTENT
    try_with_faults(copy_file, CONTENT)
    try_with_faults(lambda: storage.list(""), ["a.csv", "b.bin", "c.bin"])
    try_with_faults(lambda: storage.exists("a.csv"), True)
    try_with_faults(lambda: storage.open_file("a.csv").read(10), CONTENT[:10])
    try_with_faults(lambda: storage.delete("b.bin"))
    assert not storage.exists("b.bin")


@pytest.mark.parametrize("fault", FAULTS)
def test_an_input_is_read_whole(fault: str, server: FaultyServer, storage: Storage) -> None:
    fs, path = open_input(storage.url("a.csv"))
    server.faults = [fault] * 2
    (file,) = list_files(fs, path, "csv")
    server.faults = [fault] * 2

    rows = sum(chunk.table.num_rows for chunk in read_chunks(fs, file.path, TableInput(path="unused", format="csv")))

    assert rows == 40_000
    assert server.faults == []


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_after_the_limit_a_sentence_says_what_to_do(
    fault: str, server: FaultyServer, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = TableInput(path=storage.url("a.csv"), format="csv")
    fs, path = open_input(source.path)
    task = ReadTask(index=0, files=(path,), span=None, num_bytes=0, pieces={})
    monkeypatch.setattr(fs, "retries", 2)
    server.faults = [fault] * 100
    with pytest.raises(
        RecsysError, match=r"a\.csv: the storage did not answer in \d+ tries.*start the night again"
    ) as told:
        list(read_part(source, task))
    assert told.value.exit_code == 1
    with pytest.raises(OSError, match=r"reduce your request rate|Service Unavailable|onnect"):
        storage.read_bytes("a.csv")
    assert server.num_spoilt <= 8
    server.faults = []


def test_what_no_second_try_mends_is_not_tried_again(server: FaultyServer, storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("none.csv")


def test_a_server_that_hangs_up_leaves_no_connection_open(recwarn: pytest.WarningsRecorder) -> None:
    """An open one would fail whatever test runs when Python's garbage collector finds it."""
    with socket.create_server(("127.0.0.1", 0)) as hangs_up:
        server = FaultyServer(*hangs_up.getsockname())
        server.daemon_threads, server.block_on_close = False, True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        client = http.client.HTTPConnection(*server.server_address)
        with contextlib.closing(client):
            client.request("GET", "/")
            with hangs_up.accept()[0] as upstream:
                upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            with pytest.raises(http.client.RemoteDisconnected):
                client.getresponse()
        server.shutdown()
        server.server_close()
        thread.join()
    gc.collect()
    assert [str(warning.message) for warning in recwarn if warning.category is ResourceWarning] == []
