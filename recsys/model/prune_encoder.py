"""Writing a text encoder without some of its layers, and without the tokens that a shop never uses.

Shapes: V tokens, D width of the model, W width of the vectors.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from recsys.errors import ConfigError
from recsys.model.encoder_files import declare_modules, dense_folders, model_files, read_json, write_dense
from recsys.model.file_hashes import write_hashes
from recsys.model.prune_tokenizer import PrunedTokenizer, prune_tokenizer, used_tokens
from recsys.model.text_encoder import TextEncoder
from recsys.model.transformer_layers import config_of_layers, only_layers

#: Name of a dense layer that is added.
_ADDED_DENSE = "9_Dense"


def write_pruned(
    encoder: TextEncoder,
    folder: Path,
    *,
    layers: Sequence[int] | None = None,
    texts: Iterable[str] | None = None,
    spare_tokens: int = 0,
    dense: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Write a smaller copy that `TextEncoder.load(folder)` and sentence-transformers read. It learns nothing here.

    Args:
        encoder: Whose folder still exists. It stays as it is.
        folder: New or empty.
        layers: Numbers of the layers to keep, ascending, from 0; None: all.
        texts: Their tokens are kept, see `prune_tokenizer`; None: all tokens.
        spare_tokens: Frequent words that are kept although no text has them.
        dense: Weight [W', W] and bias [W'] of a dense layer that is added at the end.

    Raises:
        ConfigError: this kind of model or tokenizer cannot be made smaller.
    """
    model, source = encoder.model, encoder.folder
    config = read_json(source / "config.json")
    if layers is not None:
        config = config_of_layers(config, model, layers)
        with only_layers(model, layers):
            weights = dict(model.state_dict())
    else:
        weights = dict(model.state_dict())
    tokenizer = {}
    if texts is not None:
        used = used_tokens(encoder.tokenizer, texts) | _named_tokens(config, len(encoder.tokenizer))
        pruned = prune_tokenizer(source, used, spare_tokens)
        weights |= _embeddings(model, weights, pruned)
        config, tokenizer = _new_token_ids(config, pruned), pruned.files
    folder.mkdir(parents=True, exist_ok=True)
    _write(source, folder, weights, config, tokenizer)
    names = [path.name for path in dense_folders(source)]
    if dense is not None:
        write_dense(folder, _ADDED_DENSE, *dense)
        names.append(_ADDED_DENSE)
    declare_modules(
        folder,
        pooling=encoder.pooling,
        hidden_size=model.config.hidden_size,
        max_tokens=encoder.max_tokens,
        dense=names,
    )
    write_hashes(folder)


def stored_dtype(folder: Path) -> torch.dtype:
    """The type in which a model's folder holds its weights: the most frequent one."""
    files = [folder / name for name in model_files(folder) if "/" not in name and name.endswith(".safetensors")]
    types: list[torch.dtype] = []
    for file in files:
        with safetensors.safe_open(file, "pt") as weights:
            types += [weights.get_tensor(name).dtype for name in list(weights.keys())[:8]]
    return max(set(types), key=types.count)


def store_as(folder: Path, dtype: torch.dtype) -> None:
    """Write the weights of a model's folder again in another type; the hashes too."""
    path = folder / "model.safetensors"
    weights = {name: tensor.to(dtype) for name, tensor in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})
    write_hashes(folder)


def _write(
    source: Path, folder: Path, weights: dict[str, Tensor], config: dict[str, Any], tokenizer: dict[str, str]
) -> None:
    """Weights, config and tokenizer; what is not given here is copied from the source."""
    for name in model_files(source):
        is_tokenizer = "/" not in name and ".safetensors" not in name
        if name.startswith(("model.safetensors", "model-")) or (is_tokenizer and tokenizer):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((source / name).read_bytes())
    for name, content in tokenizer.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    dtype = stored_dtype(source)
    safetensors.torch.save_file(
        {name: tensor.to(dtype).contiguous() for name, tensor in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def _named_tokens(config: dict[str, Any], num_tokens: int) -> set[int]:
    """Tokens that the config of a model names, such as `pad_token_id`."""
    named = [value for name, value in config.items() if name.endswith("_token_id")]
    ids = [each for value in named for each in (value if isinstance(value, list) else [value])]
    return {each for each in ids if isinstance(each, int) and each < num_tokens}


def _new_token_ids(config: dict[str, Any], pruned: PrunedTokenizer) -> dict[str, Any]:
    new_id = {old: new for new, old in enumerate(pruned.kept)}

    def renumbered(value: Any) -> Any:
        return [new_id.get(each) for each in value] if isinstance(value, list) else new_id.get(value)

    named = {name: renumbered(value) for name, value in config.items() if name.endswith("_token_id")}
    return config | named | {"vocab_size": len(pruned.kept)}


def _embeddings(model: Any, weights: dict[str, Tensor], pruned: PrunedTokenizer) -> dict[str, Tensor]:
    """The rows of the kept tokens: of the input embeddings, the only table that may have a row for each token."""
    table = model.get_input_embeddings().weight
    whole = {name for name, tensor in weights.items() if tensor.dim() > 1 and len(tensor) == len(table)}
    found = [name for name in whole if weights[name].data_ptr() == table.data_ptr()]
    if len(found) != 1 or len(whole) != 1 or pruned.kept[-1] >= len(table):
        raise ConfigError(
            f"encoder.model: {model.config.model_type} models have more than one table of tokens "
            f"({', '.join(sorted(whole)) or 'none is found'}); keep the vocabulary: --set compress.vocabulary=false"
        )
    return {found[0]: table[torch.tensor(pruned.kept)]}
