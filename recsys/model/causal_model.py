"""Loads a causal language model of Hugging Face with its tokenizer, from a local folder."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from recsys.errors import ConfigError
from recsys.model.text_encoder import quiet_transformers


def load_causal_model(folder: Path, dtype: torch.dtype, where: str) -> tuple[Any, Any]:
    """The model in evaluation mode, and its tokenizer. Weights come from safetensors, and no code of the model is run.

    Args:
        folder: Of the model.
        dtype: Of its weights.
        where: Key of the config with its value, for errors.

    Raises:
        ConfigError: it is no causal language model, or a file is missing or damaged.
    """
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ConfigError(f"{where}: {folder} cannot be loaded as a causal language model: {error}") from error
    return model.eval().requires_grad_(False), tokenizer
