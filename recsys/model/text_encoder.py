"""A language model that maps each text to a unit vector.

Legend: N texts, B batch, T tokens, D dimensions.
"""

import functools
import inspect
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
import transformers
from safetensors import SafetensorError

from recsys.config.section import Precision
from recsys.errors import ConfigError
from recsys.model.config import Pooling, Quantization
from recsys.model.encoder_files import (
    declare_modules,
    dense_folders,
    folder_digest,
    model_files,
    read_json,
    resolve_pooling,
    vectors_digest,
)
from recsys.model.encoder_source import model_folder
from recsys.model.file_hashes import write_hashes
from recsys.model.int8_weights import quantize_weights
from recsys.model.precision import dtype_of

# The tokenizer's own threads would take cores that Ray gave to other tasks, and they warn after a fork. Tokenizing is a
# small part of encoding. To use the threads, set the variable.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_ACTIVATIONS = {"Identity": torch.nn.Identity, "Tanh": torch.nn.Tanh}


class TextEncoder:
    """A loaded encoder: tokenizer, frozen model, pooling and dense layers. `load` makes one that PyTorch runs.

    `recsys.model.onnx_encoder` has one that ONNX Runtime runs.
    """

    def __init__(
        self,
        folder: Path,
        pooling: str,
        max_tokens: int,
        precision: Precision,
        device: str,
        quantization: Quantization = "none",
    ) -> None:
        config = read_json(folder / "config.json")
        self.folder = folder
        self.pooling = pooling
        self.max_tokens = max_tokens
        self.precision = precision
        self.quantization = quantization
        self.device = torch.device(device)
        self.model, self.hidden_size = self._load_model()
        self.tokenizer = _load_tokenizer(folder)
        self.dense = [_load_dense(path).to(self.device) for path in dense_folders(folder)]
        self.dim: int = self.hidden_size
        if self.dense:
            self.dim = read_json(dense_folders(folder)[-1] / "config.json")["out_features"]
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
        quantization: Quantization = "none",
    ) -> Self:
        """Load an encoder. Weights come from safetensors only, and code of the model is never run.

        `pooling="auto"` is what the folder declares in `1_Pooling`, else `last` for causal decoders, else `mean`.
        `max_tokens` counts special tokens. `quantization="int8_weights"` halves the memory of bf16; int8 is for
        another engine.

        Raises:
            ConfigError: the model cannot be found or loaded, weights are missing, or it cannot read `max_tokens`.
        """
        folder = model_folder(spec, revision)
        return cls(folder, resolve_pooling(folder, pooling), max_tokens, precision, device, quantization)

    def _load_model(self) -> tuple[Any, int]:
        """What computes hidden states, and their width. Another engine has its own."""
        model = _load_transformer(self.folder, dtype_of(self.precision, self.device))
        if self.quantization == "int8_weights":
            quantize_weights(model)
        return model.to(self.device), model.config.hidden_size

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Last hidden states [B, T, hidden size] of tokens int64 [B, T]; ``mask`` [B, T] is 1 where there is one."""
        hidden: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden

    @functools.cached_property
    def digest(self) -> str:
        """`vectors_digest` of this encoder; a saved copy has the same.

        The files in `folder` are read at the first use, because the weights of a large model take seconds to hash. A
        temporary folder must still exist then.
        """
        plain = folder_digest(self.folder, self.pooling, self.max_tokens, self.precision)
        return vectors_digest(plain, self.quantization)

    def encode(self, texts: Sequence[str], batch_size: int = 128) -> npt.NDArray[np.float32]:
        """Unit vectors of `texts`, float32 [N, D], row i for text i. An empty text has a vector too;
        the stage `encode` does not give it to items.

        Raises:
            ConfigError: the arithmetic overflowed, as fp16 does with some models.
        """
        vectors = torch.from_numpy(self.pool(texts, batch_size)).to(self.device)
        with torch.inference_mode():
            for layer in self.dense:
                vectors = layer(vectors)
            result: npt.NDArray[np.float32] = F.normalize(vectors, dim=-1).cpu().numpy()
        return result

    def pool(self, texts: Sequence[str], batch_size: int = 128) -> npt.NDArray[np.float32]:
        """Pooled hidden states before dense layers and normalisation, float32 [N, hidden size], in input order.

        Texts of similar length share a batch, to save padding. The order of the batches depends on the texts alone.

        Raises:
            ConfigError: the arithmetic overflowed.
        """
        assert batch_size > 0, batch_size
        tokens = self.tokenize(texts)
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        pooled = np.empty((len(tokens), self.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                pooled[rows] = self._forward([tokens[row] for row in rows])
        if not np.isfinite(pooled).all():
            raise ConfigError(f"encoder.precision={self.precision}: vectors are not finite; set it to bf16 or fp32")
        return pooled

    def save(self, folder: str | Path) -> None:
        """Write a copy that `TextEncoder.load(folder)` and sentence-transformers read; `folder` is new or empty.

        The files are copied without a change from this encoder's `folder`, which must still exist, so the copy has the
        same digest. It does not hold `max_tokens`, `precision` and `device`: pass them at the next load.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        assert not any(folder.iterdir()), f"{folder} is not empty"
        self.copy_files(folder, model_files(self.folder))
        write_hashes(folder)

    def copy_files(self, folder: Path, names: Iterable[str]) -> None:
        """Copy files of this encoder's `folder`, and declare pooling and dense layers beside them."""
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / name, folder / name)
        declare_modules(
            folder,
            pooling=self.pooling,
            hidden_size=self.hidden_size,
            max_tokens=self.max_tokens,
            dense=[path.name for path in dense_folders(self.folder)],
        )

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of each text, with special tokens; at least one and at most `max_tokens`."""
        if not texts:
            return []
        tokens: list[list[int]] = self.tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, padding=False, return_attention_mask=False
        )["input_ids"]
        # a decoder's tokenizer makes no token of an empty text, and pooling needs one
        return [row or [self.pad_id] for row in tokens]

    @property
    def pad_id(self) -> int:
        """The token that pads a batch; it is masked."""
        candidates = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in candidates if token is not None)

    def _forward(self, tokens: list[list[int]]) -> npt.NDArray[np.float32]:
        """Pooled [B, hidden size] of one batch."""
        # padding on the right: the real tokens of a causal model do not see it, and keep their positions
        ids, mask = (each.to(self.device) for each in padded(tokens, self.pad_id))
        return pool_tokens(self._hidden(ids, mask), mask, self.pooling).cpu().numpy()


def padded(tokens: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens int64 [B, T] of texts, padded on the right, and the mask int64 [B, T] that is 1 where there is one."""
    width = max(map(len, tokens))
    ids = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in tokens])
    return ids, (torch.arange(width) < torch.tensor([len(row) for row in tokens])[:, None]).long()


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


def _load_tokenizer(folder: Path) -> Any:
    with _explained(folder):
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _load_transformer(folder: Path, dtype: torch.dtype) -> Any:
    with _explained(folder):
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise ConfigError(f"encoder.model: {folder} is an encoder-decoder; name an encoder or a decoder")
        model_class: Any = transformers.MODEL_MAPPING[type(config)]
        # BERT's pooler is not used, and many checkpoints lack it: it would get random weights
        unpooled = "add_pooling_layer" in inspect.signature(model_class).parameters
        model, loaded = model_class.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **({"add_pooling_layer": False} if unpooled else {}),
        )
    if loaded["missing_keys"]:
        raise ConfigError(
            f"encoder.model: the weights in {folder} lack {', '.join(sorted(loaded['missing_keys'])[:5])}"
        )
    model.config.use_cache = False
    return model.eval().requires_grad_(False)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Errors of the library about a folder, as ours."""
    try:
        with quiet_transformers():
            yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ConfigError(f"encoder.model: {folder} cannot be loaded as a text encoder: {error}") from error


def _load_dense(folder: Path) -> torch.nn.Sequential:
    config = read_json(folder / "config.json")
    activation = config.get("activation_function", "Tanh").rpartition(".")[2]
    if activation not in _ACTIVATIONS or config.get("use_residual"):
        raise ConfigError(f"encoder.model: the dense layer {folder} is not supported: {config}")
    # on the meta device the caller's random state is not used
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config["bias"], device="meta")
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights = {name.removeprefix("linear."): tensor.float() for name, tensor in weights.items()}
    linear.load_state_dict(weights, assign=True)
    return torch.nn.Sequential(linear, _ACTIVATIONS[activation]()).requires_grad_(False)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Switch off progress bars and the report on unused weights; missing weights are checked after loading."""
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
