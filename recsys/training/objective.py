"""What the ranker is trained for: a loss over windows of histories, in one forward pass.

It knows the ranker and the losses, no optimiser and no engine.

Shapes: B windows, L history length, C candidates, D item dimensions, I items, R those of them that a step looks at.
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
from recsys.model.lora import merged_weights
from recsys.model.losses import full_softmax, listwise_softmax, sampled_softmax
from recsys.model.precision import multiplies_bfloat16
from recsys.model.ranker import History, HistoryTexts, Ranker, RankerSpec
from recsys.model.sampling import draw_sample
from recsys.training.config import TrainConfig

logger = logging.getLogger(__name__)

#: One in so many listwise candidates is drawn at random; the others are the hardest.
RANDOM_SHARE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The dials of the loss; see the fields of `TrainConfig` of the same names."""

    full_softmax_items: int
    negatives: int
    logq_strength: float
    label_smoothing: float
    listwise_candidates: int
    adversarial: float
    precision: Precision
    exclude_seen: bool
    """Whether lists leave out what was seen: then nothing of it is a candidate in training either."""

    @classmethod
    def of(cls, train: TrainConfig, exclude_seen: bool) -> "Objective":
        """The dials of a config."""
        return cls(
            full_softmax_items=train.full_softmax_items,
            negatives=train.negatives,
            logq_strength=train.logq_strength,
            label_smoothing=train.label_smoothing,
            listwise_candidates=train.listwise_candidates,
            adversarial=train.adversarial,
            precision=train.precision,
            exclude_seen=exclude_seen,
        )


class TrainableRanker(Ranker):
    """A ranker whose `forward` answers the loss where there are targets; its text encoder may learn with it."""

    counts: Tensor

    def __init__(
        self,
        spec: RankerSpec,
        text_vectors: Tensor,
        counts: Tensor,
        objective: Objective,
        decoder: PreTrainedModel | None = None,
    ):
        """As `Ranker`; ``counts`` [I] int64 are each item's training interactions, without any it is not known."""
        super().__init__(spec, text_vectors, counts > 0, decoder)
        self.objective = objective
        self.register_buffer("counts", counts, persistent=False)
        self.num_known = int((counts > 0).sum())
        self.encoder: CatalogEncoder | None = None
        self._watched: Tensor | None = None
        self._compiled: Callable[..., Any] | None = None

    def compile_decoder(self) -> None:
        """From now on learn through machine code that is made for the decoder; what it computes stays the same.

        It joins what stands between the matrix products: norms, rotations and casts. To make it takes half a minute,
        or seconds where the temporary folder still holds it. Where it cannot be made, as without a C++ compiler, that
        is said and the decoder learns as before. A sharded model (ZeRO-3) must not be compiled: its weights are
        gathered by the modules that this goes past.
        """
        self._compiled = torch.compile(self.decoder.forward)

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """As `Ranker.hidden_states`."""
        if self._compiled is None or not self.training:
            return super().hidden_states(tokens)
        entered = self._enter(tokens)
        torch._dynamo.maybe_mark_dynamic(entered, 0)  # or an epoch's last batch, which is smaller, is compiled anew
        try:
            return self._leave(self._compiled(inputs_embeds=entered, use_cache=False).last_hidden_state)
        except torch._dynamo.exc.TorchDynamoException as error:
            why = str(error).partition("\n")[0]
            logger.warning("finetune: the decoder cannot be compiled, and learns as before: %s", why)
            self._compiled = None
            return super().hidden_states(tokens)

    def add_encoder(self, encoder: CatalogEncoder) -> None:
        """Let the text encoder learn too, through the items of each batch; all others keep their stored vectors."""
        self.encoder = encoder

    def whole_weights(self) -> dict[str, Tensor]:
        """As `Ranker.whole_weights`; the encoder's are not among them, it saves itself."""
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
        """The training loss, or what `Ranker.forward` answers where there are no targets.

        All goes through here since a sharded model (ZeRO-3) gathers its weights around `forward`.

        Args:
            items: [B, L] history, padded on the right with I.
            gaps: [B, L].
            events: [B, L].
            candidates: See `Ranker.forward`.
            texts: See `Ranker.forward`.
            rows: [R] of the catalog, in one batch; then nothing else is given.
            targets: [B, L] item that came next at each position, −1 for none.
            weights: [B, L] what each target counts for; None: all alike.
            positions: [B] the position of each window whose target is to be told from hard candidates too; None: the
                softmax over all positions is the whole loss.
            perturbed: Push the tokens as the gradient of the loss before says, which must have been of the same batch.

        Returns:
            Scalar loss, or the text vectors [R, T] of rows, or see `Ranker.forward`.
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
        item_vectors = self.item_vectors(sampled, self._learning_texts(sampled, items, targets))
        tokens = self.history_tokens(item_vectors, items, gaps, events, texts)
        if self.objective.adversarial:
            tokens = self._push(tokens) if perturbed else self._watch(tokens)
        with _attention_to_learn_by(tokens.device):
            if positions is None:
                return self._softmax(self.hidden_states(tokens), item_vectors, targets, weights, log_q)
            history = self.read(tokens, positions + 1)
            loss = self._softmax(history.states, item_vectors, targets, weights, log_q)
            return loss + self._listwise(history, item_vectors, items, targets, weights, log_q)

    def _learning_texts(self, rows: Tensor | None, items: Tensor, targets: Tensor) -> Tensor | None:
        """[R, T] text vectors of these rows (None: of all), those of the batch's items anew and with gradient.

        None where the encoder is frozen: then the stored ones are all there is.
        """
        if self.encoder is None:
            return None
        stored = self.text_vectors if rows is None else self.text_vectors[rows]
        own = torch.unique(torch.cat([items[items < len(stored)], targets[targets >= 0]]))
        # from what is alike on all workers: no batch has more items than events
        most = min(items.numel() + targets.numel(), self.spec.num_items)
        vectors = self.encoder(own if rows is None else rows[own], math.ceil(most / self.encoder.batch_size))
        return stored.index_copy(0, own, vectors.to(stored.dtype))

    def _watch(self, tokens: Tensor) -> Tensor:
        """The tokens, whose gradient is kept for `_push`."""
        if tokens.requires_grad:
            tokens.retain_grad()
        self._watched = tokens
        return tokens

    def _push(self, tokens: Tensor) -> Tensor:
        """Tokens [B, L, D] + ε · g / |g|, g the gradient of a window's tokens (fast gradient, Miyato et al., 2017)."""
        assert self._watched is not None, "a perturbed pass must come after the backward pass of a plain one"
        assert self._watched.grad is not None, "a perturbed pass must come after the backward pass of a plain one"
        gradient, self._watched = self._watched.grad.float(), None
        length: Tensor = gradient.flatten(1).norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
        return tokens + (self.objective.adversarial * gradient / length[:, None, None]).to(tokens.dtype)

    def _softmax(
        self, states: Tensor, item_vectors: Tensor, targets: Tensor, weights: Tensor | None, log_q: Tensor | None
    ) -> Tensor:
        """Every target against the R items at hand."""
        wanted = targets >= 0
        hidden, rows = states[wanted], targets[wanted]
        own = None if weights is None else weights[wanted]
        smoothing = self.objective.label_smoothing
        if log_q is None:
            return full_softmax(hidden, item_vectors, rows, weights=own, label_smoothing=smoothing)
        strength = self.objective.logq_strength
        return sampled_softmax(hidden, item_vectors, rows, log_q, strength, weights=own, label_smoothing=smoothing)

    def _listwise(
        self,
        history: History,
        item_vectors: Tensor,
        items: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        log_q: Tensor | None,
    ) -> Tensor:
        """The target after each history against the hardest candidates and a few random ones, by the isolated pass."""
        last = history.lengths[:, None] - 1
        wanted = targets.gather(1, last)
        assert (wanted >= 0).all(), "a position without a target"
        excluded = wanted
        if self.objective.exclude_seen:
            later = torch.arange(items.shape[1], device=items.device) > last
            excluded = torch.cat([wanted, items.masked_fill(later, len(item_vectors))], dim=1)
        others, correction = self._others(history.users, item_vectors, excluded, log_q)
        logits = self.score_candidates(item_vectors, history, torch.cat([wanted, others], dim=1))
        return listwise_softmax(
            logits + F.pad(correction, (1, 0)),
            torch.zeros(len(items), dtype=torch.int64, device=items.device),
            weights=None if weights is None else weights.gather(1, last).squeeze(1),
            label_smoothing=self.objective.label_smoothing,
        )

    @torch.no_grad()
    def _others(
        self, users: Tensor, item_vectors: Tensor, excluded: Tensor, log_q: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Candidates [B, C] beside the target, padded with R, and what their logits are to be raised by.

        The random ones stand for all that are not among the hardest, as in a sampled softmax. Otherwise an item beyond
        these would hardly ever be met but as a target, and the isolated pass would learn to put it above them.
        """
        num_items = len(item_vectors)
        num_random = max(self.objective.listwise_candidates // RANDOM_SHARE, 1)
        hard = hardest(
            users.float() @ item_vectors.float().T, excluded, self.objective.listwise_candidates - num_random
        )
        random = torch.randint(num_items, (len(users), num_random), device=users.device)
        # a random one may be of the hardest, or excluded
        others = without_repeats(torch.cat([excluded, hard, random], dim=1), num_items)[:, excluded.shape[1] :]
        correction = torch.zeros(others.shape, device=users.device)
        correction[:, -num_random:] = math.log(num_items / num_random)
        if log_q is not None:
            correction -= self.objective.logq_strength * F.pad(log_q, (0, 1))[others]
        return others, correction


def _attention_to_learn_by(device: torch.device) -> AbstractContextManager[None]:
    """The decoder's kernel: on a CPU the fused one takes several times as long on the way back."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def hardest(logits: Tensor, excluded: Tensor, num: int) -> Tensor:
    """[B, ≤ num] columns of the largest logits [B, R], but for those in ``excluded`` [B, X]; R where none is left."""
    num_items = logits.shape[1]
    open_logits = F.pad(logits, (0, 1)).scatter(1, excluded, -torch.inf)[:, :-1]  # column R takes the padding
    best = open_logits.topk(min(num, num_items), dim=1)
    return best.indices.masked_fill(best.values == -torch.inf, num_items)


def without_repeats(candidates: Tensor, padding: int) -> Tensor:
    """[B, C] candidates with padding in the place of every one that stands further left already."""
    repeated = (candidates[:, :, None] == candidates[:, None, :]).tril(-1).any(dim=2)
    return candidates.masked_fill(repeated, padding)
