"""The layers of a transformer: where a model holds them, and a model with some of them alone."""

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
    # some models read these in their forward pass, by the places that layers have then
    fewer = {"num_hidden_layers": len(kept)} | _of_each_layer(config, {}, kept)
    whole = {setting: getattr(config, setting) for setting in fewer}
    setattr(parent, name, nn.ModuleList(layers[layer] for layer in kept))
    try:
        for setting, value in fewer.items():
            setattr(config, setting, value)
        yield
    finally:
        setattr(parent, name, layers)
        for setting, value in whole.items():
            setattr(config, setting, value)


def config_of_layers(config: dict[str, Any], model: nn.Module, kept: Sequence[int]) -> dict[str, Any]:
    """The content of `config.json` for a model with only these of its layers."""
    names: dict[str, str] = getattr(model.config, "attribute_map", {})
    fewer = {names.get("num_hidden_layers", "num_hidden_layers"): len(kept)}
    return config | fewer | _of_each_layer(model.config, config, kept)


def _of_each_layer(config: Any, stored: dict[str, Any], kept: Sequence[int]) -> dict[str, list[Any]]:
    """Settings that have one value for each layer, with the values of these layers alone.

    Args:
        config: Of the loaded model with all layers. Where `config.json` has a rule in place of the values, such as
            "every third layer", it has the values; the rule would count the kept layers alone.
        stored: The content of `config.json`, whose values count where it has them.
        kept: Numbers of the layers.
    """
    found = {}
    for name in ("layer_types", "no_rope_layers", "mlp_layer_types"):
        values = stored.get(name, vars(config).get(name))  # of some kinds it is computed from the number of layers
        if isinstance(values, list) and len(values) == config.num_hidden_layers:
            found[name] = [values[layer] for layer in kept]
    return found


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
