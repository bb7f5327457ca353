"""A night that does not fit into the storage is refused before it writes anything."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.nightly import NIGHT
from recsys.errors import ConfigError
from recsys.pipeline.doctor import check_free_space
from recsys.pipeline.open_run import open_run
from recsys.pipeline.run import Run
from recsys.settings import decode_config
from tests.conftest import tiny_config


def run_of(shop: Path, storage: Path | str, **settings: Any) -> Run:
    return open_run(decode_config(tiny_config(shop, storage) | settings))


@pytest.fixture
def published(warehouse: Path, tmp_path: Path) -> Path:
    """A storage with a published night of 5,000 events."""
    storage = Path(shutil.copytree(warehouse, tmp_path / "warehouse"))
    set_events(storage, 5000)
    return storage


def set_events(storage: Path, num: int) -> None:
    """Let the published night have so many events."""
    (manifest,) = storage.glob("recommendations/*/*/_MANIFEST.json")
    cost = {"seconds": 1.0, "peak_memory_mb": 700.0}
    metrics = {"ingest": {"rows": num, **cost}, "catalog": {"rows": 80, **cost}}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"metrics": metrics}))


def set_free(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    monkeypatch.setattr(check_free_space, "free_bytes", lambda _: num_bytes)


def test_a_night_that_does_not_fit_is_refused(shop: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(shop, published)
    check_free_space.check_free_space(run, NIGHT)
    set_free(monkeypatch, 1000)
    with pytest.raises(
        ConfigError, match=r"the night needs about .* MiB \([\d,]+ bytes\).* \(1,000 bytes\) are free"
    ) as told:
        check_free_space.check_free_space(run, NIGHT)
    assert told.value.exit_code == 2
    assert "check_free_space to false" in str(told.value)
    unchecked = run_of(shop, published, check_free_space=False)
    assert unchecked.folder.run_id == run.folder.run_id, "the key changes no list"
    check_free_space.check_free_space(unchecked, NIGHT)
    for stage in NIGHT:
        run.folder.finish(stage.name, {})
    check_free_space.check_free_space(run, NIGHT)  # nothing is left to do
    assert not list(published.glob("runs/*/start.json"))


def test_a_night_without_events_says_nothing_of_the_first_one_with_events(
    shop: Path, published: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_events(published, 0)
    set_free(monkeypatch, 1 << 30)
    check_free_space.check_free_space(run_of(shop, published), NIGHT)
    assert not caplog.records
    set_free(monkeypatch, 1000)
    check_free_space.check_free_space(run_of(shop, published), NIGHT)
    assert "the night may not fit" in caplog.text


def test_the_first_night_is_warned_if_even_its_inputs_would_not_fit(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_of(shop, tmp_path / "new")
    check_free_space.check_free_space(run, NIGHT)
    assert not caplog.records
    set_free(monkeypatch, 1000)
    check_free_space.check_free_space(run, NIGHT)
    assert "the night may not fit" in caplog.text
    assert not (tmp_path / "new").exists()
    check_free_space.check_free_space(run_of(tmp_path, tmp_path / "new"), NIGHT)  # its inputs are missing
    set_free(monkeypatch, 0)
    monkeypatch.setattr(check_free_space, "last_nights", pytest.fail)
    check_free_space.check_free_space(run_of(shop, "s3://bucket/shop"), NIGHT)  # object storage has no fixed size
