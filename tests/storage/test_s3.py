import pytest
from botocore.exceptions import ClientError

from recsys.storage.s3 import create_object


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
