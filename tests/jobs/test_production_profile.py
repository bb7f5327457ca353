"""`configs/nightly.yaml` cannot run here: it is decoded, planned on an S3 server, and run with tiny random weights."""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from recsys.data.synthetic.shop import make_shop
from recsys.model.checkpoint import load_weights, read_card
from recsys.settings import load_config
from recsys.storage.filesystem import Storage
from recsys.storage.latest import read_latest
from recsys.storage.manifest import read_manifest, verify
from recsys.storage.runs import RunFolder
from recsys.training.pretrain import train_tokenizer

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "nightly.yaml"
BUCKET = "shop-prod"
END = dt.date(2026, 11, 22)

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events and items as Parquet with the columns that the profile names."""
    shop = make_shop(num_users=250, num_items=60, num_days=30, seed=1, end=END)
    folder = tmp_path_factory.mktemp("production")
    for name in ("events", "items"):
        (folder / name).mkdir()
    half = len(shop.events) // 2
    pq.write_table(shop.events.slice(0, half), folder / "events" / "part-0.parquet")
    pq.write_table(shop.events.slice(half), folder / "events" / "part-1.parquet")
    updated = pa.array([dt.datetime(2026, 9, 1, tzinfo=dt.UTC)] * len(shop.items), pa.timestamp("us", "UTC"))
    columns = {name: shop.items[name] for name in ("item_id", "title", "category")}
    columns |= {"description": shop.items["brand"], "updated_at": updated}
    columns |= {"available": pa.array([row > 0 for row in range(len(shop.items))])}
    pq.write_table(pa.table(columns), folder / "items" / "items.parquet")
    return folder


@pytest.fixture(scope="module")
def encoder(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text encoder of the profile's architecture: a decoder with a tokenizer, tiny and untrained."""
    folder = tmp_path_factory.mktemp("qwen3-embedding")
    titles = pq.read_table(inputs / "items" / "items.parquet")["title"].to_pylist()
    tokenizer = train_tokenizer(titles, 400, 128)
    tokenizer.save_pretrained(folder)
    save(Qwen3Model, folder, len(tokenizer))
    return folder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of the profile's architecture, of another width than the encoder's and the item vectors'."""
    folder = tmp_path_factory.mktemp("qwen3")
    save(Qwen3ForCausalLM, folder, 50)
    return folder


def save(model: type[transformers.PreTrainedModel], folder: Path, vocab_size: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model(Qwen3Config(vocab_size=vocab_size, **TINY)).to(torch.bfloat16).save_pretrained(folder)


@pytest.fixture
def bucket(inputs: Path, s3_client: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of a server with the inputs in the bucket that the environment names."""
    monkeypatch.setenv("RECSYS_BUCKET", BUCKET)
    s3_client.create_bucket(Bucket=BUCKET)
    for path in inputs.rglob("*.parquet"):
        s3_client.upload_file(str(path), BUCKET, str(path.relative_to(inputs)))
    return s3_client


def test_the_profile_is_planned_and_nothing_is_written(bucket):
    before = bucket.list_objects_v2(Bucket=BUCKET)["Contents"]
    command = [sys.executable, "jobs/nightly.py", "--config", PROFILE, "--date", END.isoformat(), "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "planned"
    for part in (f"s3://{BUCKET}/events", "Qwen/Qwen3-Embedding-0.6B", "zero_stage: 2", "4 × GPU", "shards: 256"):
        assert part in done.stderr
    assert bucket.list_objects_v2(Bucket=BUCKET)["Contents"] == before


def test_the_profile_runs_with_tiny_weights_of_its_architectures(run_job, inputs, encoder, decoder, tmp_path):
    tiny = {
        "storage": tmp_path / "warehouse",
        "inputs.events.path": inputs / "events",
        "inputs.items.path": inputs / "items",
        "histories.shards": 2,
        "encoder.model": encoder,
        "encoder.revision": "null",
        "encoder.num_workers": 1,
        "encoder.use_gpu": "false",
        "ranker.model": decoder,
        "ranker.revision": "null",
        "ranker.hidden_size": 16,
        "ranker.lora_rank": 2,
        "train.epochs": 2,
        "train.min_steps": 0,
        "train.recent_epochs": 1,
        "train.batch_size": 64,
        "train.num_workers": 2,
        "train.use_gpu": "false",
        "recommend.top_k": 5,
        "recommend.candidates": 20,
        "recommend.num_workers": 1,
        "recommend.use_gpu": "false",
        "gate.min_users": 1_000_000,  # from random weights nobody asks for quality
    }
    settings = [word for key, value in tiny.items() for word in ("--set", f"{key}={value}")]
    config = load_config(PROFILE, settings[1::2])
    assert (config.ranker.train, config.train.precision, config.train.zero_stage) == ("lora", "bf16", 2)
    assert (config.encoder.precision, config.encoder.pooling, config.train.accumulation_steps) == ("bf16", "last", 4)

    code, answer = run_job("nightly", "--config", PROFILE, "--date", END.isoformat(), *settings)
    assert (code, answer["status"]) == (0, "published"), answer

    storage = Storage(str(tmp_path / "warehouse"))
    latest = read_latest(storage)
    assert latest is not None
    verify(storage, read_manifest(storage, latest))
    lists = ds.dataset(storage.path(latest.path), format="parquet").to_table().to_pandas()
    run = RunFolder(storage, answer["run_id"])
    histories = ds.dataset(storage.path(run.histories_dir)).to_table(["user_id"])
    assert set(lists.user_id) == set(histories["user_id"].to_pylist())
    assert lists.groupby("user_id").size().le(5).all()
    hidden = pq.read_table(inputs / "items" / "items.parquet").filter(~ds.field("available"))["item_id"].to_pylist()
    assert hidden
    assert not set(hidden) & set(lists.item_id), "an item that is not available is listed"

    # two workers trained adapters of the decoder, and the published weights have them merged
    folder = tmp_path / "warehouse" / "models" / answer["model_id"]
    card = read_card(folder)
    assert card.spec.decoder["model_type"] == "qwen3"
    assert (card.spec.text_dim, card.spec.item_dim, card.spec.decoder["hidden_size"]) == (32, 16, 32)
    weights, _ = load_weights(folder, pq.read_table(folder / "vocabulary.parquet")["item_id"].combine_chunks())
    assert not [name for name in weights if "lora" in name or "base_layer" in name]
    start = Qwen3ForCausalLM.from_pretrained(decoder, dtype=torch.float32).model.state_dict()
    name = "layers.0.self_attn.q_proj.weight"
    assert not torch.allclose(weights[f"decoder.{name}"].float(), start[name], atol=1e-6)
    record = run.done("finetune")
    assert record is not None
    assert record["phases"] == ["softmax", "softmax", "recent"]
    assert 0 < record["loss"] < 20
