from typing import Any

import pytest
from botocore.exceptions import ClientError

from recsys.errors import ConfigError
from recsys.storage import s3
from recsys.storage.filesystem import Storage
from recsys.storage.s3 import create_object, delete_objects, open_bucket


class ConflictingFilesystem:
    """Answers as AWS does while another conditional write is in flight; the test server never does."""

    def __init__(self, codes: list[str]) -> None:
        self.codes = codes

    def pipe_file(self, path: str, data: bytes, mode: str) -> None:
        assert (path, data, mode) == ("bucket/a", b"1", "create")
        if code := self.codes.pop(0):
            raise OSError(code) from ClientError({"Error": {"Code": code}}, "PutObject")


@pytest.mark.parametrize(
    ("codes", "won"),
    [
        (["ConditionalRequestConflict", ""], True),
        (["ConditionalRequestConflict", "PreconditionFailed"], False),
        (["PreconditionFailed"], False),
    ],
)
def test_an_open_outcome_is_asked_again(codes: list[str], won: bool) -> None:
    assert create_object(ConflictingFilesystem(codes), "bucket/a", b"1") is won
    assert codes == []


def test_a_lasting_conflict_or_another_fault_is_no_answer() -> None:
    for codes in (["ConditionalRequestConflict"] * 9, ["SlowDown"]):
        with pytest.raises(OSError, match=codes[0]):
            create_object(ConflictingFilesystem(codes), "bucket/a", b"1")


def test_objects_are_deleted_many_at_a_time(s3_root: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "KEYS_PER_REQUEST", 2)
    storage = Storage(s3_root)
    names = ["a", "b c", "d/+e", "ü", "f#"]
    for name in names:
        storage.write_bytes(f"x/{name}", b"1")
    sent: list[list[str]] = []

    class Counted:
        """The filesystem of the bucket; notes the keys of each request."""

        def call_s3(self, method: str, **arguments: Any) -> Any:
            assert method == "delete_objects"
            sent.append([each["Key"] for each in arguments["Delete"]["Objects"]])
            return open_bucket(s3_root).call_s3(method, **arguments)

    delete_objects(Counted(), [storage.path(f"x/{name}") for name in (*names, "missing")])
    assert [len(keys) for keys in sent] == [2, 2, 2]
    assert storage.list("x", recursive=True) == []


def test_an_object_that_cannot_be_deleted_is_named() -> None:
    class Refusing:
        def call_s3(self, method: str, **_: Any) -> Any:
            assert method == "delete_objects"
            return {"Errors": [{"Key": "wh/a", "Code": "AccessDenied", "Message": "no"}]}

    with pytest.raises(OSError, match=r"1 objects cannot be deleted, the first is wh/a: AccessDenied no"):
        delete_objects(Refusing(), ["bucket/wh/a", "bucket/wh/b"])


@pytest.mark.parametrize("address", ["localhost:9000", "http://min_io:9000"])
def test_an_endpoint_that_is_no_address_names_the_variable(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(
        ConfigError, match=rf"^AWS_ENDPOINT_URL={address}: is no address of S3 .* http://localhost:9000"
    ):
        open_bucket("s3://bucket/key")
