"""A night with the signal `lm`: each title is read once, and lists and explanations have the language model's part."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import ConfigError
from recsys.pipeline.run import Run
from recsys.pipeline.run_stages import run_stages
from recsys.pipeline.scoring.load_snapshot import load_snapshot
from recsys.pipeline.scoring.read_titles import catalog_titles, read_priors, read_titles
from recsys.pipeline.stages import FIT_FUSION, READ_TITLES
from recsys.pipeline.stored.stored_fusion import read_fusion
from recsys.ranking.lists import recommend_batch
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import require_latest
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table
from tests.conftest import tiny_config
from tests.tiny_language_model import byte_tokenizer, save, train, untrained_model

Night = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def model(one_night: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has seen the titles of the shop for a second."""
    storage = Storage(str(one_night[0]))
    folder = RunFolder(storage, require_latest(storage).run_id)
    titles = read_table(storage, f"{folder.dir}/catalog.parquet")["text"].to_pylist()
    tokenizer = byte_tokenizer(titles, 400)
    tiny = untrained_model(len(tokenizer))
    losses = train(tiny, tokenizer, [f"- {title}\n" for title in titles], steps=30)
    assert losses[-1] < losses[0] - 1
    path = tmp_path_factory.mktemp("lm") / "tiny"
    save(tiny, tokenizer, path)
    return path


@pytest.fixture
def run(one_night: Night, shop: Path, model: Path, tmp_path: Path) -> Run:
    """The finished night again, with a language model and without the stages that it changes."""
    shutil.copytree(one_night[0], tmp_path / "warehouse")
    storage = Storage(str(tmp_path / "warehouse"))
    folder = RunFolder(storage, require_latest(storage).run_id)
    settings = {"model": str(model), "candidates": 6, "generate": 2, "max_title_tokens": 12}
    config = decode_config(tiny_config(shop, tmp_path / "warehouse", lm=settings))
    storage.delete(folder.stage_path(FIT_FUSION.name))
    storage.delete_folder(f"{folder.stages_dir}/{FIT_FUSION.name}")
    return Run(config=config, date=folder.date, folder=folder)


def test_a_night_with_a_language_model(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run_stages(run, (READ_TITLES, FIT_FUSION))
    record = run.record(READ_TITLES)
    titles = catalog_titles(run)
    assert record.rows == record.computed == len(set(titles.to_pylist()))
    assert (read_priors(run, titles) < 0).all()

    again = read_titles(run)
    assert (again.computed, again.lm_id) == (0, record.lm_id), "the published night is this one, and has read them"
    fusion = read_fusion(run, run.model_id)
    assert "lm" in fusion.weights
    snapshot = load_snapshot(
        run, run.model_id, run.config.recommend, "full", replace(fusion, weights={"lm": 1.0}, trees=None)
    )
    histories = read_table(run.storage, f"{run.folder.histories_dir}/shard-00000.parquet")
    lists = recommend_batch(snapshot, histories, run.config.recommend).lists
    assert "lm" in lists["source"].to_pylist()
    assert "its title fits what you chose before" in lists["reason"].to_pylist()
    some = recommend_batch(snapshot, histories.slice(3, 2), run.config.recommend).lists
    items, expected = (
        dict(
            zip(
                *(
                    table.group_by("user_id").aggregate([("item_id", "list")])[name].to_pylist()
                    for name in ("user_id", "item_id_list")
                ),
                strict=True,
            )
        )
        for table in (some, lists)
    )
    assert items == {user: expected[user] for user in histories["user_id"][3:5].to_pylist()}, (
        "whoever else is asked for"
    )

    cheap = load_snapshot(
        run, run.model_id, run.config.recommend, "full", replace(fusion, weights={"popularity": 1.0}, trees=None)
    )
    scorer = cheap.signals["lm"].scorer  # type: ignore[attr-defined]
    scorer.log_probs = None
    assert len(recommend_batch(cheap, histories, run.config.recommend).lists), (
        "no model is asked where nothing reads it"
    )


@pytest.mark.parametrize("damaged", ["stages/titles.json", "title_priors.parquet"])
def test_titles_are_read_again_where_those_of_the_published_night_are_damaged(
    run: Run, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_stages(run, (READ_TITLES,))
    run.storage.write_bytes(f"{run.folder.dir}/{damaged}", b"{")
    again = read_titles(run)
    assert again.computed == again.rows > 0
    assert damaged in caplog.text


def test_a_model_that_is_not_there_is_named(run: Run) -> None:
    assert run.config.lm is not None
    wrong = run.config.model_copy(update={"lm": run.config.lm.model_copy(update={"model": "./nowhere"})})
    with pytest.raises(ConfigError, match=r"^lm\.model=\./nowhere: no such folder"):
        read_titles(replace(run, config=wrong))
