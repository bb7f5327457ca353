"""A text encoder in training: the vectors of `TextEncoder`, with gradient, and what it saves is what it has become."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers
from torch import Tensor

from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.encoder_files import declare_modules, write_dense
from recsys.model.text_encoder import TextEncoder

TEXTS = ["red wool scarf", "", "a kettle", "hat", "steel kettle with a very long handle and a lid", "hat"]


@pytest.fixture(params=["decoder", "dense", "sharded"])
def folder(copy: Path, request: pytest.FixtureRequest) -> Path:
    """A decoder's folder; with a dense layer that makes 5 dimensions of 32; with weights in several files."""
    if request.param == "dense":
        write_dense(copy, "2_Dense", torch.randn(5, 32, generator=torch.Generator().manual_seed(0)), torch.arange(5.0))
        declare_modules(copy, pooling="last", hidden_size=32, max_tokens=64, dense=["2_Dense"])
    if request.param == "sharded":
        model = transformers.AutoModel.from_pretrained(copy)
        (copy / "model.safetensors").unlink()
        model.save_pretrained(copy, max_shard_size="20KB")
        assert (copy / "model.safetensors.index.json").exists()
    return copy


def catalog_encoder(folder: Path, lora_rank: int | None, batch_size: int = 4) -> CatalogEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CatalogEncoder(TextEncoder.load(str(folder), max_tokens=16), TEXTS, batch_size, lora_rank)


def vectors_of(encoder: CatalogEncoder) -> Tensor:
    with torch.no_grad():
        vectors: Tensor = encoder(torch.arange(len(TEXTS)), 2)
        return vectors


def read_by(encoder: TextEncoder) -> npt.NDArray[np.float32]:
    """What the stage `encode` stores for the texts: 0 for the empty one."""
    vectors = encoder.encode(TEXTS)
    vectors[TEXTS.index("")] = 0
    return vectors


def learn(encoder: CatalogEncoder) -> None:
    """Pull two texts together."""
    optimizer = torch.optim.AdamW([each for each in encoder.parameters() if each.requires_grad], lr=0.01)
    for _ in range(5):
        scarf, kettle = encoder(torch.tensor([0, 2]), 1)
        optimizer.zero_grad()
        (-scarf @ kettle).backward()
        optimizer.step()


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_before_training_it_reads_as_the_encoder_does(folder: Path, lora_rank: int | None) -> None:
    expected = read_by(TextEncoder.load(str(folder), max_tokens=16))
    np.testing.assert_allclose(vectors_of(catalog_encoder(folder, lora_rank)).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("num_batches", [1, 2, 5, 9])
def test_batches_and_order_do_not_show(decoder: Path, num_batches: int) -> None:
    """More batches than rows are read too, as workers with fewer items must keep step with the others."""
    encoder = catalog_encoder(decoder, None)
    rows = torch.tensor([4, 0, 3, 1, 2])
    torch.testing.assert_close(encoder(rows, num_batches), vectors_of(encoder)[rows], atol=1e-5, rtol=0)


def test_there_is_no_dropout(decoder: Path) -> None:
    encoder = catalog_encoder(decoder, 2)
    assert not any(module.training for module in torch.nn.ModuleList([encoder]).train()[0].modules())


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_what_was_learned_is_saved_whole(folder: Path, lora_rank: int | None, tmp_path: Path) -> None:
    encoder = catalog_encoder(folder, lora_rank)
    before = vectors_of(encoder)
    learn(encoder)
    after = vectors_of(encoder)
    assert (after - before).abs().max() > 0.05
    encoder.save(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    assert {"model.safetensors", "tokenizer.json", "modules.json", "config.json"} <= names
    assert all(name.endswith((".json", ".safetensors", ".txt")) and "index" not in name for name in names), names
    again = TextEncoder.load(str(tmp_path / "saved"), max_tokens=16)
    assert again.pooling == encoder.pooling
    np.testing.assert_allclose(read_by(again), after.numpy(), atol=1e-5)
    assert again.digest != TextEncoder.load(str(folder), max_tokens=16).digest


def test_adapters_learn_alone_and_full_training_reaches_every_weight(folder: Path) -> None:
    adapters, full = catalog_encoder(folder, 2), catalog_encoder(folder, None)
    learning = {name for name, each in adapters.named_parameters() if each.requires_grad}
    assert learning
    assert all(".lora_" in name for name in learning)
    assert all(each.requires_grad for each in full.parameters())
    full(torch.arange(len(TEXTS)), 2).square()[:, 0].sum().backward()
    assert all(each.grad is not None for each in full.parameters())
