"""The settings of the fine-tuning."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recsys.config.section import Fraction, Positive, Precision, Section

Augmentation = Literal["crop", "mask", "reorder"]


class TrainConfig(Section):
    """Fine-tuning of the ranker, by Ray Train and DeepSpeed."""

    epochs: Annotated[int, Field(ge=1)] = 10
    """Most passes over the training windows; more where these take fewer than `min_steps` steps."""
    min_steps: Annotated[int, Field(ge=0)] = 300
    """Optimiser steps that a training may take however few windows there are; early stopping still ends it."""
    recent_days: Positive = 30
    """Age of the targets that are learned once more by themselves, as what is newest matters most."""
    recent_epochs: Annotated[int, Field(ge=0)] = 4
    """Epochs over them, after all windows and again after the gate; kept where validation gains by them."""
    refit: bool = True
    """After the gate, learn the held-out days too, so that the lists come from all that is known."""
    listwise_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs after that which also train the second look at the best candidates; 0, since it seldom pays: none."""
    listwise_candidates: Annotated[int, Field(ge=2)] = 50
    """Items that a target is told from in them, beside the whole catalog: the hardest, and every fifth at random."""
    batch_size: Positive = 128
    """Training windows an optimiser step, over all workers and accumulation steps."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW."""
    warmup: Fraction = 0.05
    """Share of the steps in which the learning rate rises; a cosine brings it down after."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of a gradient."""
    accumulation_steps: Positive = 1
    """Micro-batches summed up for an optimiser step."""
    precision: Precision = "auto"
    """Arithmetic of training; auto: products in bf16 where the device multiplies it natively, all else in fp32."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Make machine code of the decoder, by which it learns a fifth faster; auto: where an epoch takes a minute."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 1
    """DeepSpeed ZeRO stage: 1 shards optimiser state, 2 gradients too, 3 weights too."""
    num_workers: Positive = 1
    """Training workers; each takes `cpus_per_worker` CPUs or one GPU."""
    cpus_per_worker: Positive | None = None
    """CPUs and threads of a training worker; null: a node's, but one, shared by its workers; one beside a GPU."""
    use_gpu: bool = False
    """One GPU for each training worker."""
    max_events_per_user: Annotated[int, Field(ge=2)] = 1000
    """Newest events of a user that training reads, cut into windows of `histories.max_length`."""
    validation_users: Positive = 500
    """Users whose last moment before the holdout is kept from training, for early stopping and the fusion's weights."""
    patience: Positive = 3
    """Epochs without a better validation before training stops."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """Deaths of training workers that are recovered from the last checkpoint."""
    warm_start: bool = True
    """Begin from the published model where one fits."""
    event_weights: dict[str, Annotated[float, Field(ge=0)]] | None = None
    """What an event counts for as a target, by its kind, e.g. `{purchase: 3, view: 0.5}`; kinds not named count 1."""
    recency_half_life_days: Annotated[float, Field(gt=0)] | None = None
    """A target counts half for each so many days that it lies before the holdout; null: age does not matter."""
    full_softmax_items: Annotated[int, Field(ge=0)] = 50_000
    """Most items with interactions over all of which the loss is taken; beyond them over a sample."""
    negatives: Positive = 4096
    """Uniformly drawn items with interactions in a sample, beside the items of the batch."""
    logq_strength: Fraction = 1.0
    """How far a sampled loss makes up for unequal chances to be sampled: less lifts coverage and costs accuracy."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of a target's probability that the loss spreads evenly over all items."""
    augment: list[Augmentation] = Field(default_factory=list)
    """Ways in which training windows are changed at random: `crop`, `mask` and `reorder`; none by default."""
    augment_probability: Fraction = 0.5
    """Probability that a window is changed, where `augment` names a way."""
    augment_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of a changed window's events that are cut away, hidden or put in another order."""
    adversarial: Annotated[float, Field(ge=0.0)] = 0.0
    """Length of the worst push to each window's tokens, which a second pass learns to bear; 0: there is none."""

    @model_validator(mode="after")
    def _whole_weights_to_compile(self) -> "TrainConfig":
        if self.compile == "always" and self.zero_stage == 3:
            raise ValueError("compile=always needs the whole weights on each worker: set zero_stage to 2 or less")
        return self

    def cpus_of_worker(self, there: int) -> int:
        """CPUs of each training worker, where so many are there for each."""
        return self.cpus_per_worker or (1 if self.use_gpu else there)
