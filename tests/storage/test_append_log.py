import os
import resource
import stat
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.storage.append_log import AppendLog
from recsys.storage.filesystem import Storage


def blocks(storage: Storage) -> dict[str, bytes]:
    return {name: storage.read_bytes(f"feedback/{name}") for name in storage.list("feedback")}


def test_blocks_are_kept_in_the_order_of_the_names(root: str) -> None:
    storage = Storage(root)
    log = AppendLog(storage, "feedback", "replica-1")
    assert storage.list("feedback") == []
    for block in (b"a\n", b"b\nc\n", b"d\n"):
        log.append(block)
        assert b"".join(blocks(storage).values()).endswith(block)
    log.close()
    assert b"".join(blocks(storage).values()) == b"a\nb\nc\nd\n"
    assert len(blocks(storage)) == (1 if storage.is_local else 3)
    assert all("-replica-1-" in name and name.endswith(".jsonl") for name in blocks(storage))


def test_writers_of_one_name_never_share_a_file(root: str) -> None:
    storage = Storage(root)
    for block in (b"one\n", b"two\n"):
        log = AppendLog(storage, "feedback", "same")
        log.append(block)
        log.close()
    assert sorted(blocks(storage).values()) == [b"one\n", b"two\n"]


@pytest.mark.parametrize(
    ("limits", "contents"),
    [
        ({"max_bytes": 4}, [b"aa\n", b"b\n", b"cccccc\n", b"d\n"]),
        ({"max_bytes": 5}, [b"aa\nb\n", b"cccccc\n", b"d\n"]),
        ({"max_age_s": -1.0}, [b"aa\n", b"b\n", b"cccccc\n", b"d\n"]),
        ({}, [b"aa\nb\ncccccc\nd\n"]),
    ],
)
def test_a_new_file_begins_by_size_and_by_age(tmp_path: Path, limits: dict[str, int], contents: list[bytes]) -> None:
    storage = Storage(str(tmp_path))
    log = AppendLog(storage, "feedback", "w", **limits)  # type: ignore[arg-type]
    for block in (b"aa\n", b"b\n", b"cccccc\n", b"d\n"):
        log.append(block)
    log.close()
    assert list(blocks(storage).values()) == contents


def test_the_file_and_every_new_name_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    storage = Storage(str(tmp_path / "a" / "b"))
    log = AppendLog(storage, "feedback", "w")
    log.append(b"a\n")
    (file,) = (tmp_path / "a" / "b" / "feedback").iterdir()
    assert synced[-1] == file.stat().st_ino
    assert {path.stat().st_ino for path in (*list(file.parents)[:3], tmp_path)} <= set(synced)
    assert stat.S_IMODE(file.stat().st_mode) & 0o022 == 0
    synced.clear()
    log.append(b"b\n")
    assert synced == [file.stat().st_ino]
    log.close()


def test_a_write_that_fails_ends_its_file(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    log = AppendLog(storage, "feedback", "w")
    log.append(b"whole\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="large"):
            log.append(b"torn in the middle\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.append(b"again\n")
    log.close()
    assert list(blocks(storage).values()) == [b"whole\ntorn", b"again\n"]


def test_a_folder_that_cannot_be_used_is_named_and_may_be_mended(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    (tmp_path / "feedback").write_text("in the way")
    log = AppendLog(storage, "feedback", "w")
    with pytest.raises(ConfigError, match=f"{tmp_path}/feedback: cannot be used"):
        log.append(b"a\n")
    (tmp_path / "feedback").unlink()
    log.append(b"b\n")
    log.close()
    assert list(blocks(storage).values()) == [b"b\n"]


def test_a_missing_bucket_is_named_and_may_be_made(s3_endpoint: str) -> None:
    import boto3

    log = AppendLog(Storage("s3://made-later/wh"), "feedback", "w")
    with pytest.raises(ConfigError, match="bucket does not exist"):
        log.append(b"a\n")
    client = boto3.client("s3")
    client.create_bucket(Bucket="made-later")
    client.close()
    log.append(b"b\n")
    assert list(blocks(Storage("s3://made-later/wh")).values()) == [b"b\n"]


@pytest.mark.parametrize("writer", ["", "a/b", "..\0", "a b", "é", "x" * 101])
def test_a_writer_that_is_no_part_of_a_name_is_refused(tmp_path: Path, writer: str) -> None:
    with pytest.raises(ConfigError, match="writer"):
        AppendLog(Storage(str(tmp_path)), "feedback", writer)


def test_a_full_disk_does_not_get_a_file_for_each_try(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    log = AppendLog(storage, "feedback", "w")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        for _ in range(3):
            with pytest.raises(OSError, match="large"):
                log.append(b"refused\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(blocks(storage).values()) == [b""]
    log.append(b"again\n")
    log.close()
    assert list(blocks(storage).values()) == [b"again\n"]
