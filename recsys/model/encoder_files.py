"""The folder of a text encoder: its pooling and layers, the files that determine a vector, and their digest.

The layout is that of sentence-transformers: Hugging Face files, `1_Pooling`, optional `N_Dense` layers, and a final
normalisation. Weights are not loaded here.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from recsys.config.section import Precision
from recsys.errors import ConfigError
from recsys.model.config import Pooling, Quantization
from recsys.model.encoder_source import model_folder
from recsys.model.file_hashes import hashes_of

#: Version of how numbers are quantized; another scheme makes other vectors.
_SCHEME = 1

#: Poolings as sentence-transformers declares them, by flags `pooling_mode_x` or by name, to ours.
_DECLARED = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last", "cls": "cls", "mean": "mean"}
#: Files of tokenizers; a folder holds some of them.
_TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


def encoder_digest(
    spec: str,
    revision: str | None = None,
    pooling: Pooling = "auto",
    max_tokens: int = 64,
    precision: Precision = "fp32",
) -> str:
    """Hex sha256 of everything that determines a text's vector. It names the store of vectors.

    It covers the bytes of weights, config and tokenizer, the resolved pooling, `max_tokens` and the precision. The
    precision auto counts as one value: machines differ in it by less than two texts do. Weights are not loaded.

    Raises:
        ConfigError: the model cannot be found, or its folder does not hold a text encoder.
    """
    folder = model_folder(spec, revision)
    return folder_digest(folder, resolve_pooling(folder, pooling), max_tokens, precision)


def folder_digest(folder: Path, pooling: str, max_tokens: int, precision: Precision) -> str:
    """`encoder_digest` of a local folder, with the resolved pooling."""
    files = hashes_of(folder, model_files(folder))
    facts = {"files": files, "pooling": pooling, "max_tokens": max_tokens, "precision": precision}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def vectors_digest(encoder_id: str, quantization: Quantization) -> str:
    """Digest that names the store of vectors of an encoder that is quantized.

    Without quantization it is `encoder_digest`, whatever the engine: engines differ by rounding.
    """
    if quantization == "none":
        return encoder_id
    facts = {"encoder": encoder_id, "quantization": quantization, "scheme": _SCHEME}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def model_files(folder: Path, key: str = "encoder.model") -> list[str]:
    """Names, relative to `folder`, of the files that determine a vector, sorted.

    Raises:
        ConfigError: the folder has no weights that are read; `key` names what says where it is.
    """
    if (folder / "model.safetensors").exists():
        weights = ["model.safetensors"]
    elif (index := folder / "model.safetensors.index.json").exists():
        weights = [index.name, *sorted(set(read_json(index)["weight_map"].values()))]
    else:
        raise ConfigError(f"{key}: {folder} has no model.safetensors; weights in other formats are not read")
    tokenizer = [name for name in _TOKENIZER_FILES if (folder / name).exists()]
    dense = [f"{path.name}/{name}" for path in dense_folders(folder) for name in ("config.json", "model.safetensors")]
    return sorted(["config.json", *weights, *tokenizer, *dense])


def resolve_pooling(folder: Path, pooling: Pooling) -> str:
    """The pooling to use: `auto` is the declared one, else `last` for causal decoders and `mean` for other models."""
    if pooling != "auto":
        return pooling
    declared = _declared_pooling(folder)
    if declared is not None:
        return declared
    kind = read_json(folder / "config.json").get("model_type")
    decoder = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "last" if decoder else "mean"


def _declared_pooling(folder: Path) -> str | None:
    path = folder / "1_Pooling" / "config.json"
    if not path.exists():
        return None
    config = read_json(path)
    modes = config.get("pooling_mode")
    if modes is None:
        prefix = "pooling_mode_"
        modes = [key.removeprefix(prefix) for key, on in config.items() if key.startswith(prefix) and on]
    elif isinstance(modes, str):
        modes = [modes]
    if len(modes) != 1 or modes[0] not in _DECLARED:
        raise ConfigError(f"encoder.pooling=auto: {path} declares {modes}; choose mean, cls or last")
    return _DECLARED[modes[0]]


def dense_folders(folder: Path) -> list[Path]:
    """Folders of the dense layers that `modules.json` declares, in the order they are applied.

    Raises:
        ConfigError: a module is not supported, or is not in the folder.
    """
    if not (folder / "modules.json").exists():
        return []
    modules = [(module["type"].rpartition(".")[2], module["path"]) for module in read_json(folder / "modules.json")]
    unknown = {kind for kind, _ in modules} - {"Transformer", "Pooling", "Dense", "Normalize"}
    if unknown:
        raise ConfigError(f"encoder.model: {folder} has modules that are not supported: {', '.join(sorted(unknown))}")
    dense = [path for kind, path in modules if kind == "Dense"]
    if bad := [path for path in dense if Path(path).name != path]:
        raise ConfigError(f"encoder.model: {folder} names the dense layer {bad[0]!r}, which is no folder in it")
    return [folder / path for path in dense]


def declare_modules(
    folder: Path, *, pooling: str, hidden_size: int, max_tokens: int, dense: Sequence[str] = ()
) -> None:
    """Write the pooling, dense layers (folder names) and normalisation of a model, as sentence-transformers does."""
    kinds = ["Transformer", "Pooling", *["Dense"] * len(dense), "Normalize"]
    paths = ["", "1_Pooling", *dense, f"{len(dense) + 2}_Normalize"]
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    modes = {f"pooling_mode_{mode}": _DECLARED[mode] == pooling for mode in ("cls_token", "mean_tokens", "lasttoken")}
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden_size, **modes})
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})


def write_dense(folder: Path, name: str, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Write the layer x ↦ weight · x + bias as `folder/name`; `weight` float32 [out, in], `bias` float32 [out]."""
    out_features, in_features = weight.shape
    settings = {
        "in_features": in_features,
        "out_features": out_features,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    _write_json(folder / name / "config.json", settings)
    tensors = {"linear.weight": weight.contiguous(), "linear.bias": bias.contiguous()}
    safetensors.torch.save_file(tensors, folder / name / "model.safetensors")


def read_json(path: Path) -> Any:
    """The decoded file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"encoder.model: {path} cannot be read: {error}") from error


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
