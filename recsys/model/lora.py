"""Low-rank adapters (LoRA, Hu et al., 2021) for any transformer, and merging them into its weights."""

import warnings
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


def add_adapters(model: Any, rank: int) -> Any:
    """Freeze the model and add adapters of this rank to all its linear layers. At first they change nothing."""
    from peft import LoraConfig, get_peft_model  # seconds to import, and few models need it

    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with warnings.catch_warnings():  # peft 0.21 uses a deprecated name of transformers
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        return get_peft_model(model, settings)


def merged_weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Copies of a module's weights, with adapters merged into their layers, and named as without adapters."""
    state = module.state_dict()
    adapted: dict[str, Any] = {}
    if any(".lora_" in name for name in state):
        from peft.tuners.lora import LoraLayer

        adapted = {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}
    for name, tensor in state.items():
        if ".lora_" in name:
            continue
        layer = adapted.get(name.removesuffix(".base_layer.weight"))
        whole = tensor if layer is None else tensor + layer.get_delta_weight("default").to(tensor.dtype)
        yield name.replace(".base_model.model.", ".").replace(".base_layer.", "."), whole.detach().clone()
