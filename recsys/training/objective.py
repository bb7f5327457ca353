"""The training loss of the ranker, over windows of histories, in one forward pass.

Shapes: B windows, L history length, C candidates, D item dimensions, I items, R items that a step looks at.
"""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from recsys.config.section import Precision
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.history_states import History, HistoryTexts
from recsys.model.lora import merged_weights
from recsys.model.losses import full_softmax, listwise_softmax, sampled_softmax
from recsys.model.pointwise_losses import ItemLogits, generalised_cross_entropy, rating_error
from recsys.model.precision import multiplies_bfloat16
from recsys.model.ranker import Ranker
from recsys.model.ranker_spec import RankerSpec
from recsys.model.sampling import draw_sample
from recsys.training.adversarial import FastGradient
from recsys.training.by_length import decode_by_length
from recsys.training.config import ObjectiveName, TrainConfig
from recsys.training.hard_candidates import draw_candidates
from recsys.training.window_batch import num_targets

logger = logging.getLogger(__name__)

#: Positions that have the same negatives in a pointwise loss. With one draw for a whole batch a step would push the
#: same few items down everywhere. With one for each position, gathering vectors would take longer than multiplying.
_SHARING_NEGATIVES = 16
#: Bias with which `gbce` starts: an item is taken by one user in thousands. From a larger one the first steps would
#: push all items away from all users.
_FIRST_BIAS = -9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The parameters of the loss; see the fields of `TrainConfig` of the same names."""

    name: ObjectiveName = "softmax"
    pointwise_negatives: int = 256
    gbce_calibration: float = 0.75
    rating_max: float = 5.0
    squared: bool = False
    full_softmax_items: int
    negatives: int
    logq_strength: float
    label_smoothing: float
    listwise_candidates: int
    adversarial_epsilon: float
    precision: Precision
    exclude_seen: bool
    """Whether lists leave out items that the user has seen. Then these are no candidates in training either."""

    @classmethod
    def of(cls, train: TrainConfig, exclude_seen: bool) -> "Objective":
        """The parameters in a config."""
        return cls(
            name=train.objective,
            pointwise_negatives=train.pointwise_negatives,
            gbce_calibration=train.gbce_calibration,
            rating_max=train.rating_max,
            squared=train.rating_loss == "squared",
            full_softmax_items=train.full_softmax_items,
            negatives=train.negatives,
            logq_strength=train.logq_strength,
            label_smoothing=train.label_smoothing,
            listwise_candidates=train.listwise_candidates,
            adversarial_epsilon=train.adversarial_epsilon,
            precision=train.precision,
            exclude_seen=exclude_seen,
        )


class TrainableRanker(Ranker):
    """A ranker whose `forward` returns the loss if it gets targets; its text encoder may be trained with it."""

    counts: Tensor

    def __init__(
        self,
        spec: RankerSpec,
        text_vectors: Tensor,
        counts: Tensor,
        objective: Objective,
        decoder: PreTrainedModel | None = None,
    ):
        """As `Ranker`; ``counts`` [I] int64 are each item's training interactions. Items without any are not known."""
        super().__init__(spec, text_vectors, counts > 0, decoder)
        self.objective = objective
        if objective.name == "gbce" and spec.logit_bias:
            torch.nn.init.constant_(self.logit_bias, _FIRST_BIAS)
        self.register_buffer("counts", counts, persistent=False)
        self.num_known = int((counts > 0).sum())
        self.encoder: CatalogEncoder | None = None
        self._perturbation = FastGradient(objective.adversarial_epsilon)
        self._compiled: Callable[..., Any] | None = None

    def compile_decoder(self) -> None:
        """Compile the decoder for training; it computes the same as before.

        Compilation fuses the operations between the matrix products: norms, rotations and casts. It takes half a
        minute, or seconds if the temporary folder still holds the result. If it fails, for example without a C++
        compiler, a warning says so and the training continues without it. Do not compile a sharded model (ZeRO-3):
        its weights are gathered around the modules, and compiled code does not go through the modules.
        """
        self._compiled = torch.compile(self.decoder.forward)

    def hidden_states(self, tokens: Tensor, gaps: Tensor) -> Tensor:
        """As `Ranker.hidden_states`."""
        if self._compiled is None or not self.training:
            return super().hidden_states(tokens, gaps)
        entered = self._enter(tokens)
        mask = self._mask(gaps, entered)
        for tensor, dimensions in ((entered, (0, 1)), (mask, (0, 2, 3))):
            for dimension in dimensions if tensor is not None else ():  # else batches of another size recompile
                torch._dynamo.maybe_mark_dynamic(tensor, dimension)
        try:
            compiled = self._compiled(inputs_embeds=entered, attention_mask=mask, use_cache=False)
            return self._leave(compiled.last_hidden_state)
        except torch._dynamo.exc.TorchDynamoException as error:
            why = str(error).partition("\n")[0]
            logger.warning("finetune: the decoder cannot be compiled, training continues without it: %s", why)
            self._compiled = None
            return super().hidden_states(tokens, gaps)

    def add_encoder(self, encoder: CatalogEncoder) -> None:
        """Train the text encoder too, on the texts of each batch's items; other items keep their stored vectors."""
        self.encoder = encoder

    def whole_weights(self) -> dict[str, Tensor]:
        """As `Ranker.whole_weights`, without the text encoder's weights: `CatalogEncoder.save` writes these."""
        return {name: tensor for name, tensor in merged_weights(self) if not name.startswith("encoder.")}

    def forward(
        self,
        items: Tensor | None = None,
        gaps: Tensor | None = None,
        events: Tensor | None = None,
        candidates: Tensor | None = None,
        texts: HistoryTexts | None = None,
        *,
        rows: Tensor | None = None,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
        positions: Tensor | None = None,
        perturbed: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The training loss, or what `Ranker.forward` returns if there are no targets.

        All calls go through this method because a sharded model (ZeRO-3) gathers its weights around `forward`.

        Args:
            items: [B, L] history, padded on the right with I.
            gaps: [B, L].
            events: [B, L].
            candidates: See `Ranker.forward`.
            texts: See `Ranker.forward`.
            rows: [R] of the catalog, in one batch; then no other argument is given.
            targets: [B, L] the next item at each position, −1 for none.
            weights: [B, L] of the targets; None: all have weight 1.
            positions: [B] for each window the position whose target the candidate pass learns; None: the loss is the
                softmax over all positions alone.
            perturbed: Perturb the tokens along the gradient of the call before, which must have had the same batch.

        Returns:
            Scalar loss, or the text vectors [R, T] of ``rows``, or see `Ranker.forward`.
        """
        if rows is not None:
            assert self.encoder is not None, "a frozen encoder is not read in training"
            return self.encoder(rows, num_batches=1)  # type: ignore[no-any-return]
        assert items is not None, "neither rows nor a history"
        assert gaps is not None, "a history without gaps"
        assert events is not None, "a history without events"
        if targets is None:
            return super().forward(items, gaps, events, candidates, texts)
        mixed = self.objective.precision == "auto" and multiplies_bfloat16(items.device)
        with torch.autocast(items.device.type, torch.bfloat16, enabled=mixed):
            return self._loss(items, gaps, events, texts, targets, weights, positions, perturbed)

    def _loss(
        self,
        items: Tensor,
        gaps: Tensor,
        events: Tensor,
        texts: HistoryTexts | None,
        targets: Tensor,
        weights: Tensor | None,
        positions: Tensor | None,
        perturbed: bool,
    ) -> Tensor:
        """Arguments as those of `forward`."""
        log_q: Tensor | None = None
        sampled: Tensor | None = None
        many = self.num_known > self.objective.full_softmax_items
        if many or self.num_known < self.spec.num_items:
            num_negatives = self.objective.negatives if many else self.num_known
            sample = draw_sample(items, targets, self.counts, num_negatives)
            items, targets, sampled = sample.items, sample.targets, sample.rows
            log_q = sample.log_q if many else None
        item_vectors = self.item_vectors(sampled, self._trained_texts(sampled, items, targets))
        tokens = self.history_tokens(item_vectors, items, gaps, events, texts)
        if self._perturbation.epsilon:
            tokens = self._perturbation.perturb(tokens) if perturbed else self._perturbation.keep(tokens)
        with _attention_for_training(tokens.device):
            if positions is None:
                states = decode_by_length(self.hidden_states, tokens, gaps, num_targets(targets).squeeze(1))
                return self._next_items(states, item_vectors, targets, weights, log_q)
            history = self.read(tokens, gaps, positions + 1)
            loss = self._next_items(history.states, item_vectors, targets, weights, log_q)
            return loss + self._listwise(history, item_vectors, items, targets, weights, log_q)

    def _trained_texts(self, rows: Tensor | None, items: Tensor, targets: Tensor) -> Tensor | None:
        """[R, T] text vectors of these rows (None: of all items); those of the batch's items have a gradient.

        None if the encoder is frozen: then `item_vectors` takes the stored ones.
        """
        if self.encoder is None:
            return None
        stored = self.text_vectors if rows is None else self.text_vectors[rows]
        own = torch.unique(torch.cat([items[items < len(stored)], targets[targets >= 0]]))
        # a bound that is the same on all workers: a batch never has more items than events
        most = min(items.numel() + targets.numel(), self.spec.num_items)
        vectors = self.encoder(own if rows is None else rows[own], math.ceil(most / self.encoder.batch_size))
        return stored.index_copy(0, own, vectors.to(stored.dtype))

    def _next_items(
        self, states: Tensor, item_vectors: Tensor, targets: Tensor, weights: Tensor | None, log_q: Tensor | None
    ) -> Tensor:
        """The loss of all targets: over the R items, or over a few negatives of them."""
        wanted = targets >= 0
        hidden, rows = states[wanted], targets[wanted]
        own = None if weights is None else weights[wanted]
        if self.objective.name != "softmax":
            return self._pointwise(hidden, item_vectors, rows, own)
        smoothing = self.objective.label_smoothing
        if log_q is None:
            return full_softmax(hidden, item_vectors, rows, weights=own, label_smoothing=smoothing)
        strength = self.objective.logq_strength
        return sampled_softmax(hidden, item_vectors, rows, log_q, strength, weights=own, label_smoothing=smoothing)

    def _pointwise(self, hidden: Tensor, item_vectors: Tensor, rows: Tensor, weights: Tensor | None) -> Tensor:
        """Each target [N] and items that are drawn for a few of them together, every item judged by itself."""
        objective = self.objective
        shape = (-(-len(hidden) // _SHARING_NEGATIVES), objective.pointwise_negatives)
        negatives = torch.randint(len(item_vectors), shape, device=hidden.device)
        logits = ItemLogits.of(hidden, item_vectors, rows, negatives, self.logit_bias)
        if objective.name == "gbce":
            return generalised_cross_entropy(logits, self.num_known, objective.gbce_calibration, weights)
        ratings = (
            torch.ones_like(logits.taken) if weights is None else (weights.float() / objective.rating_max).clamp(max=1)
        )
        return rating_error(logits, ratings, objective.squared)

    def _listwise(
        self,
        history: History,
        item_vectors: Tensor,
        items: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        log_q: Tensor | None,
    ) -> Tensor:
        """The loss of the candidate pass: the target after each history among hard and random candidates."""
        last = history.lengths[:, None] - 1
        wanted = targets.gather(1, last)
        assert (wanted >= 0).all(), "a position without a target"
        excluded = wanted
        if self.objective.exclude_seen:
            later = torch.arange(items.shape[1], device=items.device) > last
            excluded = torch.cat([wanted, items.masked_fill(later, len(item_vectors))], dim=1)
        correction = None if log_q is None else self.objective.logq_strength * log_q
        num = self.objective.listwise_candidates
        others, correction = draw_candidates(history.users, item_vectors, excluded, num, correction)
        logits = self.score_candidates(item_vectors, history, torch.cat([wanted, others], dim=1))
        return listwise_softmax(
            logits + F.pad(correction, (1, 0)),
            torch.zeros(len(items), dtype=torch.int64, device=items.device),
            weights=None if weights is None else weights.gather(1, last).squeeze(1),
            label_smoothing=self.objective.label_smoothing,
        )


def _attention_for_training(device: torch.device) -> AbstractContextManager[None]:
    """The attention kernel: on a CPU the backward pass of the fused one takes several times as long."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
