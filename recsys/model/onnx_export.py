"""Writes a text encoder for ONNX Runtime, and compares its vectors with those of torch.

Legend: N texts, B batch, T tokens.
"""

import contextlib
import importlib.metadata
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from recsys.errors import ConfigError
from recsys.model.encoder_files import model_files, vectors_digest
from recsys.model.file_hashes import write_hashes
from recsys.model.onnx_encoder import EXPORT_FILE, GRAPH_FILE, INPUTS, OnnxEncoder
from recsys.model.onnx_packages import EXPORT_PACKAGES, require_packages
from recsys.model.text_encoder import TextEncoder
from recsys.storage.record_kinds import ENCODER_EXPORT

#: Least cosine between the vectors of an export and those of torch, of each text. Vectors of two titles that mean the
#: same differ by more than that.
MIN_COSINE = {"none": 0.999, "int8": 0.98}


def export_encoder(
    encoder: TextEncoder,
    folder: Path,
    texts: Sequence[str],
    quantization: Literal["none", "int8"] = "none",
    encoder_id: str | None = None,
) -> OnnxEncoder:
    """Write an encoder to a new folder, in a form that `OnnxEncoder.open` reads, and compare it with torch.

    Args:
        encoder: In fp32, on the CPU.
        folder: It is new or empty.
        texts: [N] on which both are compared.
        quantization: Of the weights and activations.
        encoder_id: Digest of its vectors; None: that of the encoder with this quantization.

    Raises:
        ConfigError: packages are missing, the model cannot be exported, or the vectors differ from those of torch.
    """
    require_packages(EXPORT_PACKAGES)
    folder.mkdir(parents=True, exist_ok=True)
    _write_graph(encoder, folder / GRAPH_FILE)
    if quantization == "int8":
        from recsys.model.onnx_int8 import quantize_graph  # it imports the extra `onnx`

        quantize_graph(folder / GRAPH_FILE, _sample(encoder))
    _copy_the_rest(encoder, folder)
    facts = {
        "encoder_id": encoder_id or vectors_digest(encoder.digest, quantization),
        "max_tokens": encoder.max_tokens,
        "quantization": quantization,
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "onnx", "onnxruntime")},
    }
    (folder / EXPORT_FILE).write_text(json.dumps(ENCODER_EXPORT.stamp(facts), indent=2) + "\n", encoding="utf-8")
    write_hashes(folder)
    exported = OnnxEncoder.open(folder)
    check_vectors(encoder, exported, texts, MIN_COSINE[quantization])
    return exported


def check_vectors(encoder: TextEncoder, exported: TextEncoder, texts: Sequence[str], least: float) -> None:
    """Compare the vectors that both encoders give each text.

    Raises:
        ConfigError: their cosine is below ``least`` for some text.
    """
    cosines = (encoder.encode(texts) * exported.encode(texts)).sum(axis=1)
    if not cosines.min() >= least:
        raise ConfigError(
            f"encoder.engine=onnx: its vectors differ from those of torch: for {texts[cosines.argmin()]!r} the "
            f"cosine is {cosines.min():.4f}, must be ≥ {least}; set encoder.quantization to none, or engine to torch"
        )


def _sample(encoder: TextEncoder) -> dict[str, npt.NDArray[np.int64]]:
    """Inputs [B, T] of random tokens between the special ones, so that int8 vectors depend on the encoder alone."""
    special = encoder.tokenize([""])[0]
    ids = np.random.default_rng(0).integers(encoder.model.config.vocab_size, size=(64, min(24, encoder.max_tokens)))
    ids[:, 0], ids[:, -1] = special[0], special[-1]
    return dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True))


class _HiddenStates(torch.nn.Module):
    """A transformer as a function of two tensors."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Last hidden states of tokens [B, T]."""
        hidden: torch.Tensor = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden


def _write_graph(encoder: TextEncoder, path: Path) -> None:
    ids = torch.ones(3, 7, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    transformer = encoder.model
    implementation = transformer.config._attn_implementation
    transformer.set_attn_implementation("eager")  # its graph has fewer operations than those of fused kernels
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                _HiddenStates(transformer).eval(),
                (ids, mask),
                dynamo=True,
                dynamic_shapes=(sizes, sizes),
                input_names=list(INPUTS),
                output_names=["hidden"],
                verbose=False,
            )
            assert program is not None, "the exporter was asked for a program"
            program.save(path)
    except Exception as error:  # the exporter's errors have no common class
        why = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"encoder.engine=onnx: the model in {encoder.folder} cannot be exported ({why}); set engine to torch"
        ) from error
    finally:
        transformer.set_attn_implementation(implementation)


def _copy_the_rest(encoder: TextEncoder, folder: Path) -> None:
    """Settings, tokenizer and dense layers; the weights of the transformer are in the graph."""
    weights = (".safetensors", ".safetensors.index.json")
    names = (name for name in model_files(encoder.folder) if "/" in name or not name.endswith(weights))
    encoder.copy_files(folder, names)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's lines: they are about its own parts."""
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
