import datetime as dt
import re
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder, run_id

DATE = dt.date(2026, 11, 22)


@pytest.fixture
def run(root: str) -> RunFolder:
    return RunFolder(Storage(root), "2026-11-22-0123456789ab")


def test_a_night_is_named_by_its_date_and_its_settings() -> None:
    name = run_id(DATE, "c")
    assert name == run_id(DATE, "c")
    names = {name, run_id(DATE + dt.timedelta(days=1), "c"), run_id(DATE, "d")}
    assert len(names) == 3
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
    assert run.read_config() == {"seed": 0}
    assert run.storage.read_json(run.metrics_path) == {"ndcg@10": 0.1}
    assert run.storage.exists("recommendations/LATEST.json")


@pytest.mark.parametrize("content", [b"", b'{"rows": 1', b"\xff\xfe", b"[1]", b"null"])
def test_a_damaged_record_is_not_done(run: RunFolder, content: bytes) -> None:
    run.storage.write_bytes(run.stage_path("encode"), content)
    run.storage.write_bytes(run.part_path("recommend", "shard-00000"), content)
    assert run.done("encode") is None
    assert run.part_done("recommend", "shard-00000") is None
    assert run.parts("recommend") == {}
