import errno
import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.fs
import pytest

from recsys.errors import ConfigError, StorageError
from recsys.storage.addresses import open_input
from recsys.storage.filesystem import Storage


@pytest.fixture
def storage(root: str) -> Storage:
    return Storage(root)


def test_a_written_file_is_read_listed_replaced_and_deleted(storage: Storage) -> None:
    assert not storage.exists("a/b.bin")
    storage.write_bytes("a/b.bin", b"one")
    assert storage.exists("a/b.bin")
    assert storage.exists("a")
    storage.write_bytes("a/b.bin", b"two")
    assert storage.read_bytes("a/b.bin") == b"two"
    assert storage.sha256("a/b.bin") == hashlib.sha256(b"two").hexdigest()
    storage.delete("a/b.bin")
    storage.delete("a/b.bin")
    assert not storage.exists("a/b.bin")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("a/b.bin")


def test_lists_hold_files_only_sorted_and_fresh(storage: Storage) -> None:
    assert storage.list("x") == []
    for name in ("x/b", "x/a", "x/deep/er/c", "xy"):
        storage.write_bytes(name, name.encode())
    assert storage.list("x") == ["a", "b"]
    assert storage.list("x", recursive=True) == ["a", "b", "deep/er/c"]
    assert storage.sizes("x") == {"a": 3, "b": 3}
    other = pickle.loads(pickle.dumps(storage))  # noqa: S301 (our own bytes)
    assert other == storage
    other.delete("x/a")
    assert storage.list("x") == ["b"]
    storage.delete_folder("x")
    assert storage.list("x", recursive=True) == []
    assert storage.exists("xy")


def test_folders_are_listed_and_go_as_a_whole(storage: Storage) -> None:
    assert storage.folders("x") == ()
    for name in ("x/a/1", "x/a/b/2", "x/c/3", "x/file", "xy/4"):
        storage.write_bytes(name, name.encode())
    assert storage.folders("x") == ("a", "c")
    storage.delete_folder("x/a")
    assert storage.folders("x") == ("c",)
    assert not storage.exists("x/a")
    storage.delete_files(["x/c/3", "x/c/none"])
    storage.delete_files([])
    assert storage.list("x", recursive=True) == ["file"]
    assert storage.exists("xy/4")


def test_what_a_killed_writer_left_goes_with_its_folder(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    code = f"""if True:
        import sys
        from recsys.storage.filesystem import Storage
        with Storage(sys.argv[1]).new_file(sys.argv[2]) as new:
            new.path.write_bytes(b"half of it")
            {kill}"""
    for name in ("old/below/model", "new/below/model"):
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path), name], check=False).returncode == -9
    (left,) = (tmp_path / "old").rglob(".*.partial")
    two_days_ago = left.stat().st_mtime - 2 * 86_400
    os.utime(left, (two_days_ago, two_days_ago))
    for folder in ("old", "new"):
        storage.delete_folder(folder)
    assert storage.folders("") == ("new",), "its writer may still be at work"


def test_a_disk_that_cannot_tell_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, stat = Storage(str(tmp_path)), os.stat
    storage.write_bytes("here", b"")
    assert [storage.exists(name) for name in ("here", "none", "here/none")] == [True, False, False]

    def failing(path: object, *more: object, **options: object) -> os.stat_result:
        if str(path).endswith("here"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return stat(path, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", failing)
    with pytest.raises(StorageError, match="here: its disk fails"):
        storage.exists("here")


def test_the_root_itself_can_be_listed(storage: Storage) -> None:
    storage.write_bytes("top.txt", b"")
    assert storage.list("") == ["top.txt"]


def test_a_change_by_another_process_is_seen_at_once(storage: Storage) -> None:
    storage.write_bytes("x/b", b"")
    assert storage.list("x") == ["b"]
    assert not storage.exists("x/a")
    code = "import sys; from recsys.storage.filesystem import Storage; Storage(sys.argv[1]).write_bytes('x/a', b'1')"
    subprocess.run([sys.executable, "-c", code, storage.root], check=True)
    assert storage.exists("x/a")
    assert storage.list("x") == ["a", "b"]


def test_of_sixteen_creators_one_wins_and_its_content_stays(storage: Storage) -> None:
    with ThreadPoolExecutor(16) as threads:
        won = list(threads.map(lambda number: storage.create_bytes("locks/1", b"%d" % number), range(16)))
    assert won.count(True) == 1
    assert storage.read_bytes("locks/1") == b"%d" % won.index(True)
    assert storage.list("locks") == ["1"]


def test_only_one_of_many_swaps_the_content_that_all_have_read(storage: Storage) -> None:
    assert not storage.swap_bytes("pointer", b"new", b"old")
    assert storage.swap_bytes("pointer", b"old", None)
    assert not storage.swap_bytes("pointer", b"new", None)
    assert not storage.swap_bytes("pointer", b"new", b"other")
    assert storage.read_bytes("pointer") == b"old"
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda number: storage.swap_bytes("pointer", b"%d" % number, b"old"), range(16)))
    assert won.count(True) == 1
    assert storage.read_bytes("pointer") == b"%d" % won.index(True)
    assert storage.list("") == ["pointer"]


def test_a_new_file_appears_when_the_block_ends(storage: Storage) -> None:
    with storage.new_file("models/m/weights.bin") as file:
        file.path.write_bytes(b"abc")
        assert not storage.exists("models/m/weights.bin")
        assert storage.list("models/m") == []
    assert (file.bytes, file.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert storage.read_bytes("models/m/weights.bin") == b"abc"
    assert not file.path.exists()


def test_a_failed_new_file_leaves_the_old_one_and_no_litter(storage: Storage) -> None:
    storage.write_bytes("m/weights.bin", b"old")
    paths = []

    def fail_halfway() -> None:
        with storage.new_file("m/weights.bin") as file:
            paths.append(file.path)
            file.path.write_bytes(b"half")
            raise PermissionError("mine")

    with pytest.raises(PermissionError, match="mine"):  # the writer's own error, not taken for the storage's
        fail_halfway()
    assert storage.read_bytes("m/weights.bin") == b"old"
    assert not paths[0].exists()
    if storage.is_local:
        assert os.listdir(storage.path("m")) == ["weights.bin"]


def test_a_local_write_that_dies_before_its_last_step_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    storage.write_bytes("a", b"old")

    def fail(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="power cut"):
        storage.write_bytes("a", b"new")
    monkeypatch.undo()
    assert storage.read_bytes("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_litter_of_a_killed_writer_is_not_listed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with storage.new_file("night/shard.parquet") as file:
        file.path.write_bytes(b"half")
        assert list((tmp_path / "night").glob("*.parquet")) == []
        assert storage.list("night", recursive=True) == []


def test_files_obey_the_umask(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    umask = os.umask(0o022)
    try:
        storage.write_bytes("a", b"")
        with storage.new_file("b") as file:
            file.path.write_bytes(b"")
    finally:
        os.umask(umask)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o644, 0o644]


def test_folders_travel_both_ways(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "tokenizer").mkdir(parents=True)
    (source / "model.json").write_bytes(b"{}")
    (source / "tokenizer" / "vocab [1].txt").write_bytes(b"a b")
    storage.upload_folder(source, "models/m")
    storage.download_folder("models/m", tmp_path / "copy")
    assert (tmp_path / "copy" / "model.json").read_bytes() == b"{}"
    with storage.local_folder("models/m") as folder:
        assert (folder / "tokenizer" / "vocab [1].txt").read_bytes() == b"a b"
        assert (str(folder) == storage.path("models/m")) == storage.is_local
    assert folder.exists() == storage.is_local
    with storage.local_folder("models/m", recursive=False) as folder:
        assert (folder / "model.json").read_bytes() == b"{}"
        assert (folder / "tokenizer").exists() == storage.is_local, "a folder below was downloaded"
    with storage.local_file("models/m/model.json") as file:
        assert file.read_bytes() == b"{}"
    with pytest.raises(FileNotFoundError, match="models/none"), storage.local_folder("models/none"):
        pass
    with pytest.raises(FileNotFoundError), storage.local_file("models/m/none"):
        pass


def test_json_is_stable_and_strict(storage: Storage) -> None:
    storage.write_json("a.json", {"b": [1.5, math.nan, {"x": math.inf}], "a": "é"})
    text = storage.read_bytes("a.json").decode()
    assert text.startswith('{\n  "a": "é",\n  "b"')
    assert text.endswith("}\n")
    assert storage.read_json("a.json") == {"a": "é", "b": [1.5, None, {"x": None}]}
    storage.write_bytes("a.json", b'{"a": ')
    with pytest.raises(json.JSONDecodeError):
        storage.read_json("a.json")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a//b", "a/./b", "a\\b", "a\0b"])
def test_paths_cannot_leave_the_root(storage: Storage, path: str) -> None:
    with pytest.raises(ConfigError, match="not allowed"):
        storage.write_bytes(path, b"")
    with pytest.raises(ConfigError, match="not allowed"):
        storage.url(path)


def test_relative_roots_are_made_absolute_when_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("./wh/")
    assert storage.root == str(tmp_path / "wh")
    monkeypatch.chdir("/")
    assert storage.url("a", "b/c") == f"{tmp_path}/wh/a/b/c"
    assert Storage(f"file://{tmp_path}").root == str(tmp_path)
    assert Storage("s3://bucket/x/").url("a") == "s3://bucket/x/a"
    assert Storage("s3://bucket").path("a") == "bucket/a"


@pytest.mark.parametrize("root", ["gs://bucket/x", "http://host/x", "s3:/bucket", "s3://", "s3://b/../x", ""])
def test_other_roots_are_refused_by_name(root: str) -> None:
    with pytest.raises(ConfigError, match=r"storage.*s3://bucket/prefix"):
        Storage(root)


def test_a_missing_bucket_is_reported(s3_endpoint: str) -> None:
    assert s3_endpoint
    storage = Storage("s3://no-such-bucket/wh")
    calls = [
        lambda: storage.exists("a"),
        lambda: storage.list("a"),
        lambda: storage.write_bytes("a", b""),
        lambda: open_input("s3://no-such-bucket/in/*.csv"),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=r"s3://no-such-bucket.*does not exist.*create it"):
            call()


def test_missing_credentials_are_reported(s3_endpoint: str) -> None:
    hidden = {"AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_EC2_METADATA_DISABLED": "true"}
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | hidden
    code = "from recsys.storage.filesystem import Storage; Storage('s3://warehouse/wh').write_bytes('a', b'')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env | {"AWS_ENDPOINT_URL": s3_endpoint}, capture_output=True, text=True
    )
    assert "ConfigError: s3://warehouse/wh/a: no AWS credentials" in done.stderr


def test_a_local_root_below_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "file" / "wh"):
        with pytest.raises(ConfigError, match="cannot be used"):
            Storage(str(root)).write_bytes("a", b"")
        with pytest.raises(ConfigError, match="cannot be used"):
            Storage(str(root)).create_bytes("a", b"")


def test_inputs_are_opened_where_they_are(storage: Storage) -> None:
    storage.write_bytes("in/a.csv", b"x\n1\n")
    fs, path = open_input(storage.url("in") + "/*.csv")
    assert [fs.cat_file(found) for found in fs.glob(path)] == [b"x\n1\n"]
    with pytest.raises(ConfigError, match=r"input gs://b/x.*not supported"):
        open_input("gs://b/x")


def test_arrow_sees_the_same_files(storage: Storage, tmp_path: Path) -> None:
    storage.write_bytes("a/b", b"1")
    fs, path = storage.arrow()
    fs = pickle.loads(pickle.dumps(fs))  # noqa: S301 (Ray sends it to its workers)
    with fs.open_input_stream(f"{path}/a/b") as stream:
        assert stream.read() == b"1"
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "w").write_bytes(b"2")
    fs.create_dir(f"{path}/runs/c")
    pyarrow.fs.copy_files(str(tmp_path / "checkpoint"), f"{path}/runs/c", destination_filesystem=fs)
    assert storage.read_bytes("runs/c/w") == b"2"


def test_a_file_is_read_here_and_there(storage: Storage) -> None:
    storage.write_bytes("a.bin", b"0123456789")
    for size in (None, 10):
        with storage.open_file("a.bin", size) as file:
            assert file.seekable()
            assert file.readable()
            assert file.seek(-3, os.SEEK_END) == 7
            assert file.read(2) == b"78"
            assert file.tell() == 9
            assert file.read(5) == b"9"
            assert file.read(5) == b""
            assert file.seek(2) == 2
            assert file.seek(1, os.SEEK_CUR) == 3
            assert file.read() == b"3456789"
            assert file.seek(99) == 99
            assert file.read(1) == b""
        assert file.closed


def test_a_missing_file_cannot_be_opened(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.open_file("none.bin")
    with pytest.raises(FileNotFoundError), storage.open_file("none.bin", size=10) as file:
        file.read(1)
    with pytest.raises(ConfigError, match="not allowed"):
        storage.open_file("../x")
