"""The encoder that ONNX Runtime runs: the vectors of torch, from an export that is checked; in int8 nearly the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.errors import ConfigError, InputError
from recsys.model import default_encoder, onnx_encoder
from recsys.model.encoder_files import declare_modules, vectors_digest, write_dense
from recsys.model.onnx_encoder import OnnxEncoder
from recsys.model.onnx_export import check_vectors, export_encoder
from recsys.model.onnx_packages import require_packages
from recsys.model.text_encoder import TextEncoder
from tests.model.conftest import TEXTS

MANY = [*TEXTS, "", *(f"{color} {thing}" for color in ("red", "blue") for thing in ("lamp", "glass", "steel pan"))]


@pytest.fixture(scope="module")
def plain(decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TextEncoder, Path]:
    """A decoder with a dense layer, and its export."""
    folder = Path(shutil.copytree(decoder, tmp_path_factory.mktemp("plain") / "decoder"))
    weight = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    write_dense(folder, "2_Dense", weight, torch.arange(5.0))
    declare_modules(folder, pooling="last", hidden_size=32, max_tokens=64, dense=["2_Dense"])
    torch_encoder = TextEncoder.load(str(folder))
    export_encoder(torch_encoder, folder.parent / "export", TEXTS)
    return torch_encoder, folder.parent / "export"


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextEncoder, Path]:
    """The pretrained MiniLM, and its export in int8."""
    torch_encoder = TextEncoder.load(default_encoder.PACKAGED)
    folder = tmp_path_factory.mktemp("minilm") / "export"
    export_encoder(torch_encoder, folder, MANY, "int8")
    return torch_encoder, folder


def test_an_export_gives_the_vectors_of_torch(plain: tuple[TextEncoder, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    torch_encoder, folder = plain
    exported = OnnxEncoder.open(folder)
    assert exported.dim == torch_encoder.dim == 5
    np.testing.assert_allclose(exported.encode(MANY), torch_encoder.encode(MANY), atol=1e-5)
    np.testing.assert_allclose(exported.encode(MANY, batch_size=1), torch_encoder.encode(MANY), atol=1e-5)
    assert exported.digest == torch_encoder.digest, "both differ by rounding: they share their stored vectors"
    assert exported.encode([]).shape == (0, 5)
    monkeypatch.setattr(onnx_encoder, "_TOKENS_AT_ONCE", 20)  # passes of a part of the batch
    np.testing.assert_allclose(exported.encode(MANY), torch_encoder.encode(MANY), atol=1e-5)


def test_int8_gives_nearly_the_same_vectors_whatever_is_in_the_batch(minilm: tuple[TextEncoder, Path]) -> None:
    torch_encoder, folder = minilm
    exported = OnnxEncoder.open(folder)
    vectors = exported.encode(MANY)
    cosines = (vectors * torch_encoder.encode(MANY)).sum(axis=1)
    assert cosines.min() > 0.97
    assert cosines.mean() > 0.99
    np.testing.assert_allclose(exported.encode(MANY, batch_size=1), vectors, atol=1e-5)
    assert exported.digest == vectors_digest(torch_encoder.digest, "int8") != torch_encoder.digest
    weights = (Path(torch_encoder.folder) / "model.safetensors").stat().st_size
    assert (folder / "encoder.onnx").stat().st_size < 0.3 * weights


def test_a_copy_is_the_same_encoder_and_a_damaged_one_is_refused(
    plain: tuple[TextEncoder, Path], tmp_path: Path
) -> None:
    exported = OnnxEncoder.open(plain[1])
    exported.save(tmp_path / "copy")
    again = OnnxEncoder.open(tmp_path / "copy")
    np.testing.assert_array_equal(again.encode(TEXTS), exported.encode(TEXTS))
    assert again.digest == exported.digest
    graph = tmp_path / "copy" / "encoder.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"encoder\.onnx is not the file that was written"):
        OnnxEncoder.open(tmp_path / "copy")


def test_vectors_that_differ_are_refused(plain: tuple[TextEncoder, Path], decoder: Path) -> None:
    other = TextEncoder.load(str(decoder), pooling="mean")
    with pytest.raises(ConfigError, match=r"its vectors differ from those of torch: .* must be ≥ 0.999"):
        check_vectors(TextEncoder.load(str(decoder)), other, TEXTS, 0.999)


def test_what_is_missing_is_named(minilm: tuple[TextEncoder, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no_such_package is not installed: pip install 'recsys\[onnx\]'"):
        require_packages(["numpy", "no_such_package"])
    monkeypatch.setattr(onnx_encoder, "has_exact_int8", lambda: False)
    with pytest.raises(ConfigError, match="has no VNNI instructions"):
        OnnxEncoder.open(minilm[1])
