import datetime as dt
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder, run_id

DATE = dt.date(2026, 11, 22)
FILES = [("data/a.parquet", 10, "v1"), ("data/b.parquet", 20, "v1")]


@pytest.fixture
def run(root: str) -> RunFolder:
    return RunFolder(Storage(root), "2026-11-22-0123456789ab")


@given(files=st.permutations(FILES))
def test_the_same_night_has_the_same_name(files: list[tuple[str, int, str]]) -> None:
    name = run_id(DATE, "c", files, "1")
    assert name == "2026-11-22-e67c2bb15801"


def test_any_other_night_has_another_name() -> None:
    names = [
        run_id(DATE, "c", FILES, "1"),
        run_id(DATE + dt.timedelta(days=1), "c", FILES, "1"),
        run_id(DATE, "d", FILES, "1"),
        run_id(DATE, "c", FILES, "2"),
        run_id(DATE, "c", FILES[:1], "1"),
        run_id(DATE, "c", [FILES[0], ("data/b.parquet", 21, "v1")], "1"),
        run_id(DATE, "c", [FILES[0], ("data/b.parquet", 20, "v2")], "1"),
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"2026-11-2\d-[0-9a-f]{12}", name) for name in names)


@pytest.mark.parametrize("name", ["", "../x", "2026-11-22", "2026-11-22-a/b", "2026-13-22-0123456789ab", "x"])
def test_a_wrong_run_id_is_reported(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run id"):
        RunFolder(Storage(str(tmp_path)), name)


def test_stages_and_parts_are_remembered(run: RunFolder) -> None:
    assert run.done("encode") is None
    assert run.parts("recommend") == {}
    run.finish("encode", {"num_items": 3})
    run.finish_part("recommend", "shard-00001", {"rows": 1})
    run.finish_part("recommend", "shard-00000", {"rows": 0})
    again = RunFolder(Storage(run.storage.root), run.run_id)
    assert again.done("encode") == {"num_items": 3}
    assert again.done("recommend") is None
    assert again.part_done("recommend", "shard-00001") == {"rows": 1}
    assert again.part_done("recommend", "shard-00002") is None
    assert again.parts("recommend") == {"shard-00000": {"rows": 0}, "shard-00001": {"rows": 1}}
    assert run.storage.exists("runs/2026-11-22-0123456789ab/stages/recommend/shard-00001.json")


def test_forgetting_drops_the_stages_alone(run: RunFolder) -> None:
    run.finish("encode", {})
    run.finish_part("recommend", "shard-00000", {})
    run.write_config("seed: 0\n")
    run.write_metrics({"ndcg@10": 0.1})
    run.storage.write_bytes("recommendations/LATEST.json", b"{}")
    run.forget()
    assert run.done("encode") is None
    assert run.parts("recommend") == {}
    assert run.storage.read_bytes(run.config_path) == b"seed: 0\n"
    assert run.storage.read_json(run.metrics_path) == {"ndcg@10": 0.1}
    assert run.storage.exists("recommendations/LATEST.json")


@pytest.mark.parametrize("content", [b"", b'{"rows": 1', b"\xff\xfe", b"[1]", b"null"])
def test_a_damaged_record_is_not_done(run: RunFolder, content: bytes) -> None:
    run.storage.write_bytes(run.stage_path("encode"), content)
    run.storage.write_bytes(run.part_path("recommend", "shard-00000"), content)
    assert run.done("encode") is None
    assert run.part_done("recommend", "shard-00000") is None
    assert run.parts("recommend") == {}
