"""A text encoder that ONNX Runtime runs on CPUs, from a folder that `recsys.model.onnx_export` wrote.

Legend: B batch, T tokens, D hidden size.
"""

import functools
import json
import shutil
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from recsys.errors import ConfigError, InputError
from recsys.model.encoder_files import resolve_pooling
from recsys.model.file_hashes import verify_hashes
from recsys.model.onnx_packages import RUN_PACKAGES, require_packages
from recsys.model.text_encoder import TextEncoder
from recsys.storage.record_kinds import ENCODER_EXPORT

#: The graph of the transformer, from tokens to last hidden states.
GRAPH_FILE = "encoder.onnx"
#: Facts about the export: a JSON record of the kind `ENCODER_EXPORT`.
EXPORT_FILE = "export.json"
#: Names of the graph's inputs, int64 [B, T]; the mask is 1 where there is a token.
INPUTS = ("input_ids", "attention_mask")

#: Tokens of a pass through the graph, with padding. What the layers of 1,000 tokens compute stays in the CPU's caches.
_TOKENS_AT_ONCE = 1024


class OnnxEncoder(TextEncoder):
    """An encoder whose transformer ONNX Runtime runs. Tokens, pooling and dense layers are those of `TextEncoder`.

    It takes as many threads as torch has when it is loaded. Threads of the caller may share it.
    """

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Load an export. The torch weights are not read.

        Raises:
            ConfigError: ONNX Runtime is not installed, or this CPU cannot run int8.
            InputError: a file of the export is damaged.
            NewerFormatError: a newer release wrote the export.
        """
        require_packages(RUN_PACKAGES)
        verify_hashes(folder)
        facts = read_export(folder)
        if facts["quantization"] == "int8" and not has_exact_int8():
            raise ConfigError(
                "encoder.quantization=int8: this CPU has no VNNI instructions, without which int8 products overflow; "
                "set it to none"
            )
        return cls(folder, resolve_pooling(folder, "auto"), facts["max_tokens"], "fp32", "cpu")

    def _load_model(self) -> tuple[Any, int]:
        import onnxruntime  # an extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # threads that spin while they wait would take the cores of other workers
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(
            str(self.folder / GRAPH_FILE),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],  # the fused kernel takes longer than the two operations
        )
        return session, session.get_outputs()[0].shape[-1]

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        feeds = dict(zip(INPUTS, (ids.numpy(), mask.numpy()), strict=True))
        at_once = max(_TOKENS_AT_ONCE // ids.shape[1], 1)
        passes = (
            self.model.run(None, {name: rows[start : start + at_once] for name, rows in feeds.items()})[0]
            for start in range(0, len(ids), at_once)
        )
        return torch.from_numpy(np.concatenate(list(passes)))

    @functools.cached_property
    def digest(self) -> str:
        """Names the store of its vectors, see `encoder_files.vectors_digest`."""
        return str(read_export(self.folder)["encoder_id"])

    def save(self, folder: str | Path) -> None:
        """Copy the export; `folder` is new or empty."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)


def read_export(folder: Path) -> dict[str, Any]:
    """Facts about an export.

    Raises:
        InputError: they are missing or damaged.
        NewerFormatError: a newer release wrote them.
    """
    path = folder / EXPORT_FILE
    try:
        return ENCODER_EXPORT.current(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete its folder, and the next night writes it") from error


def has_exact_int8() -> bool:
    """Whether products of int8 are exact on this CPU. On x86 without VNNI, sums of two products overflow 16 bits."""
    able = torch.cpu.get_capabilities()
    return able.get("architecture") != "x86_64" or bool(able.get("avx512_vnni") or able.get("avx_vnni"))
