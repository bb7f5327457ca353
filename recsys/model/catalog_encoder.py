"""A text encoder that is trained with the ranker, over the texts of a catalog. `TextEncoder` reads what it saves.

Shapes: I items, R rows of the catalog, B of them at a time, W tokens of the longest, T text dimensions.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Self

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recsys.model.encoder_files import declare_modules, dense_folders, model_files
from recsys.model.file_hashes import write_hashes
from recsys.model.lora import add_adapters, merged_weights
from recsys.model.text_encoder import TextEncoder, pool_tokens


class CatalogEncoder(nn.Module):
    """Text vectors of rows of a catalog, with gradient; 0 for an empty text, as the stage `encode` gives it."""

    tokens: Tensor
    starts: Tensor
    has_text: Tensor

    def __init__(self, encoder: TextEncoder, texts: Sequence[str], batch_size: int, lora_rank: int | None):
        """Take over an encoder's model.

        Args:
            encoder: In fp32; its folder is read only here.
            texts: [I] of the catalog, then other texts; all are tokenised once.
            batch_size: Texts of a forward pass, whose activations are in memory at the same time.
            lora_rank: Of adapters, which alone are trained; None: all weights are trained.
        """
        super().__init__()
        self.pooling, self.max_tokens, self.pad_id = encoder.pooling, encoder.max_tokens, encoder.pad_id
        self.batch_size = batch_size
        self.hidden_size: int = encoder.model.config.hidden_size
        self._dense_names = [path.name for path in dense_folders(encoder.folder)]
        # the files that are saved with the weights: the folder may be a temporary one
        beside = [name for name in model_files(encoder.folder) if ".safetensors" not in name]
        self._beside = {name: (encoder.folder / name).read_bytes() for name in beside}
        self.transformer = encoder.model
        self.dense = nn.ModuleList(encoder.dense)
        self.requires_grad_(lora_rank is None)
        if lora_rank is not None:
            self.transformer = add_adapters(encoder.model, lora_rank)
        tokens = encoder.tokenize(texts)
        starts = F.pad(torch.tensor([len(row) for row in tokens]).cumsum(0), (1, 0))
        self.register_buffer("tokens", torch.tensor(list(chain.from_iterable(tokens)), dtype=torch.int32), False)
        self.register_buffer("starts", starts, False)
        self.register_buffer("has_text", torch.tensor([text != "" for text in texts], dtype=torch.bool), False)
        self.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 (as in nn.Module)
        """Never switch dropout on: in a softmax over new and stored vectors it would separate the two."""
        return super().train(False)

    @property
    def lengths(self) -> Tensor:
        """[I] tokens of each text."""
        return self.starts.diff()

    def forward(self, rows: Tensor, num_batches: int) -> Tensor:
        """[R, T] float32 vectors of these rows, of length 1, or 0 for an empty text.

        Args:
            rows: [R] of the catalog.
            num_batches: Number of forward passes. It must be the same on all workers, because a sharded model (ZeRO-3)
                gathers its weights in each pass.
        """
        order = self.lengths[rows].argsort(stable=True)  # texts of similar length together need little padding
        filled = F.pad(rows[order], (0, max(num_batches - len(rows), 0)))
        batches = filled.tensor_split(num_batches)
        if num_batches == 1:
            return self._encode(filled)[: len(rows)][order.argsort()]
        # the backward pass computes activations again: those of thousands of texts would not fit into memory
        found = [checkpoint(self._encode, batch, use_reentrant=False, preserve_rng_state=False) for batch in batches]
        vectors: Tensor = torch.cat(found)[: len(rows)][order.argsort()]
        return vectors

    def _encode(self, rows: Tensor) -> Tensor:
        """[B, T] vectors of a batch."""
        lengths = self.lengths[rows]
        places = torch.arange(int(lengths.max()), device=rows.device)
        there = places < lengths[:, None]  # [B, W]
        ids = self.tokens[(self.starts[rows][:, None] + places).clamp(max=len(self.tokens) - 1)].long()
        mask = there.long()
        hidden = self.transformer(input_ids=ids.masked_fill(~there, self.pad_id), attention_mask=mask)
        vectors = pool_tokens(hidden.last_hidden_state, mask, self.pooling)
        for layer in self.dense:
            vectors = layer(vectors.to(next(layer.parameters()).dtype))
        return F.normalize(vectors.float(), dim=-1) * self.has_text[rows, None]

    def save(self, folder: Path) -> None:
        """Write files for `TextEncoder.load` and sentence-transformers; the weights must be whole (not sharded).

        Adapters are merged. ``folder`` must not exist.
        """
        transformer: dict[str, Tensor] = {}
        dense: dict[str, dict[str, Tensor]] = {name: {} for name in self._dense_names}
        for name, tensor in merged_weights(self):
            part, _, rest = name.partition(".")
            if part == "transformer":
                transformer[rest] = tensor.cpu().contiguous()
            else:
                place, _, weight = rest.partition(".0.")
                dense[self._dense_names[int(place)]][f"linear.{weight}"] = tensor.cpu().contiguous()
        for name, content in self._beside.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        safetensors.torch.save_file(transformer, folder / "model.safetensors", metadata={"format": "pt"})
        for name, weights in dense.items():
            safetensors.torch.save_file(weights, folder / name / "model.safetensors")
        declare_modules(
            folder,
            pooling=self.pooling,
            hidden_size=self.hidden_size,
            max_tokens=self.max_tokens,
            dense=self._dense_names,
        )
        write_hashes(folder)
