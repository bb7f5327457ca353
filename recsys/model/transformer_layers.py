"""The layers of a transformer: where a model holds them, and a model with some of them alone."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from recsys.errors import ConfigError


def num_layers(model: nn.Module) -> int:
    """Layers of a loaded Hugging Face model.

    Raises:
        ConfigError: its layers are not in one list.
    """
    return len(_place(model)[2])


@contextmanager
def only_layers(model: nn.Module, kept: Sequence[int]) -> Iterator[None]:
    """Within this context the model has only these of its layers."""
    parent, name, layers = _place(model)
    config: Any = model.config
    whole = config.num_hidden_layers
    setattr(parent, name, nn.ModuleList(layers[layer] for layer in kept))
    config.num_hidden_layers = len(kept)  # some models read it in their forward pass
    try:
        yield
    finally:
        setattr(parent, name, layers)
        config.num_hidden_layers = whole


def config_of_layers(config: dict[str, Any], model: nn.Module, kept: Sequence[int]) -> dict[str, Any]:
    """The content of `config.json` for a model with only these of its layers."""
    whole, loaded = num_layers(model), copy.copy(config)
    names: dict[str, str] = getattr(model.config, "attribute_map", {})
    loaded[names.get("num_hidden_layers", "num_hidden_layers")] = len(kept)
    for name in ("layer_types", "no_rope_layers", "mlp_layer_types"):  # one value for each layer
        if isinstance(values := loaded.get(name), list) and len(values) == whole:
            loaded[name] = [values[layer] for layer in kept]
    return loaded


def _place(model: nn.Module) -> tuple[nn.Module, str, nn.ModuleList]:
    """The module that holds the list of layers, the list's name in it, and the list."""
    config: Any = model.config
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == config.num_hidden_layers
    ]
    if len(found) != 1:
        raise ConfigError(
            f"encoder.model: the layers of a model of the type {config.model_type!r} are not found, so that none can "
            f"be left out; take another model, or --variants vocabulary"
        )
    return found[0]
