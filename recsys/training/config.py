"""Settings of the training of the ranker."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recsys.config.section import Fraction, Positive, Precision, Section

Augmentation = Literal["crop", "mask", "reorder"]
ObjectiveName = Literal["softmax", "gbce", "rating"]

#: Precisions in which only DeepSpeed trains: the weights themselves have 16 bits, with a float32 copy in the optimiser.
_HALF = ("bf16", "fp16")


class TrainConfig(Section):
    """Training of the ranker by Ray Train, with DeepSpeed or plain PyTorch."""

    budget: Literal["auto", "full", "never"] = "auto"
    """How often the ranker is trained. full: every night. auto: every 7th night while it adds nothing measurable.
    never: the published ranker is used again; without one, lists are made of the other signals."""
    epochs: Annotated[int, Field(ge=1)] = 10
    """Maximum passes over the training windows. There are more if these are fewer than `min_steps` steps."""
    min_steps: Annotated[int, Field(ge=0)] = 300
    """Optimiser steps that a training may take even if there are few windows; early stopping still ends it."""
    recent_days: Positive = 30
    """Maximum age in days of the targets that the recent phase and the refit train on."""
    recent_epochs: Annotated[int, Field(ge=0)] = 4
    """Maximum epochs over the recent targets, after those over all windows; two without a better validation end them.
    Their result is kept if validation improves."""
    refit: bool = True
    """After the gate, continue the training with the held-out days, so that the lists use all data."""
    listwise_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs, at the end, that also train the candidate pass. 0 disables it; it seldom improves the lists."""
    listwise_candidates: Annotated[int, Field(ge=2)] = 50
    """Candidates of each target in these epochs: the hardest items, and every fifth drawn at random."""
    batch_size: Positive = 128
    """Training windows of an optimiser step, over all workers and accumulation steps."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW."""
    warmup: Fraction = 0.05
    """Share of the steps in which the learning rate rises; then it falls along a cosine."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Maximum norm of the gradient."""
    accumulation_steps: Positive = 1
    """Micro-batches whose gradients are summed for an optimiser step."""
    precision: Precision = "auto"
    """Arithmetic of training. auto: fp32, with matrix products in bf16 if the device has instructions for them."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Compile the decoder, which makes training about 20 % faster. auto: only if an epoch takes a minute or more."""
    engine: Literal["auto", "deepspeed", "torch"] = "auto"
    """What runs the optimiser. auto: plain PyTorch for one CPU worker with `zero_stage` ≤ 1, else DeepSpeed."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 1
    """DeepSpeed ZeRO stage: 1 shards the optimiser state, 2 the gradients too, 3 the weights too."""
    num_workers: Positive = 1
    """Training workers. Each takes `cpus_per_worker` CPUs or one GPU."""
    cpus_per_worker: Positive | None = None
    """CPUs and threads of a worker. null: the CPUs of a node minus one, divided among its workers; one beside a GPU."""
    use_gpu: bool = False
    """One GPU for each training worker."""
    max_events_per_user: Annotated[int, Field(ge=2)] = 1000
    """Newest events of a user that training reads; they are cut into windows of `histories.max_length`."""
    validation_users: Positive | None = None
    """Users whose last basket before the holdout is kept out of training, to stop early and to fit the fusion.
    null: a third of the users, at most 6000, and at least 500 where there are as many."""
    patience: Positive = 3
    """Epochs without a better validation result after which training stops."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """Times that a training continues from its last checkpoint after a worker died."""
    warm_start: bool = True
    """Continue the published model if its encoder and architecture fit. If not, or if false, each night trains on all
    events."""
    full_every: Positive = 28
    """Days after which the ranker is trained on all events again, from random weights. In the nights between, training
    continues the published model with the new events and with replayed older ones. 1: all events every night."""
    replay: Annotated[float, Field(ge=0)] = 1.0
    """Windows of all events, drawn at random, that such a night trains with each window of new events. There are more
    where these would fill less than a quarter of `min_steps`, so that few new events are not repeated often."""
    max_validation_drop: Fraction = 0.1
    """The ranker is also trained on all events again once its validation NDCG is by this share below that of the last
    such training."""
    recency_half_life_days: Annotated[float, Field(gt=0)] | None = None
    """The weight of a target halves with each such period before the holdout. null: age does not matter."""
    full_softmax_items: Annotated[int, Field(ge=0)] = 50_000
    """Maximum items with interactions for a softmax over all of them; with more items the softmax is sampled."""
    negatives: Positive = 4096
    """Items that a sampled softmax draws uniformly, in addition to the items of the batch."""
    logq_strength: Fraction = 1.0
    """Strength of the logQ correction of a sampled softmax. Less improves coverage and costs accuracy."""
    objective: ObjectiveName = "softmax"
    """What training minimises: softmax over items; gbce, a binary loss an item; rating, errors of event weights."""
    pointwise_negatives: Positive = 256
    """Items that `gbce` and `rating` draw as negatives for every 16 positions."""
    gbce_calibration: Fraction = 0.75
    """t of gSASRec. 0: plain binary cross-entropy, overconfident; 1: probabilities as if all items were negatives."""
    rating_max: Annotated[float, Field(gt=0)] = 5.0
    """Event weight that `rating` takes as certain approval. Larger weights count as this one; items not taken are 0."""
    rating_loss: Literal["cross_entropy", "squared"] = "cross_entropy"
    """How `rating` measures errors of the predicted share of `rating_max`."""
    targets: Literal["next", "next_days"] = "next"
    """What a position learns to predict. next: the next item; next_days: an item of the next `target_days`, drawn in
    each pass from those of the same window."""
    target_days: Positive = 7
    """Days after an event whose items are its targets, if `targets` is next_days."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of a target's probability that the loss spreads evenly over all items."""
    augment: list[Augmentation] = Field(default_factory=list)
    """Random changes of the training windows: any of `crop`, `mask` and `reorder`."""
    augment_probability: Fraction = 0.5
    """Probability that a window is changed, if `augment` names a change."""
    augment_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of a changed window's events that are cut away, masked or reordered."""
    adversarial_epsilon: Annotated[float, Field(ge=0.0)] = 0.0
    """ε of the adversarial perturbation of token embeddings (FGM). 0 disables it."""

    @model_validator(mode="after")
    def _whole_weights_to_compile(self) -> "TrainConfig":
        if self.compile == "always" and self.zero_stage == 3:
            raise ValueError("compile=always needs the whole weights on each worker: set zero_stage to 2 or less")
        return self

    @model_validator(mode="after")
    def _torch_engine_can(self) -> "TrainConfig":
        if self.engine == "torch" and (self.num_workers > 1 or self.zero_stage > 1 or self.precision in _HALF):
            raise ValueError(
                f"engine=torch needs num_workers=1, zero_stage ≤ 1 and precision auto or fp32, got {self.num_workers}, "
                f"{self.zero_stage} and {self.precision}: set engine to auto or deepspeed"
            )
        return self

    @model_validator(mode="after")
    def _ratings_do_not_age(self) -> "TrainConfig":
        if self.objective == "rating" and self.recency_half_life_days is not None:
            raise ValueError(
                "objective=rating predicts event weights, and recency_half_life_days lowers them: set it to null"
            )
        return self

    @property
    def uses_deepspeed(self) -> bool:
        """Whether DeepSpeed steps the optimiser; else plain PyTorch does."""
        if self.engine != "auto":
            return self.engine == "deepspeed"
        return self.num_workers > 1 or self.use_gpu or self.zero_stage > 1 or self.precision in _HALF

    @property
    def micro_batch_size(self) -> int:
        """Windows that a worker reads at a time."""
        return self.batch_size // (self.num_workers * self.accumulation_steps)

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches of an optimiser step; adversarial training adds a perturbed copy of each."""
        return self.accumulation_steps * (2 if self.adversarial_epsilon else 1)

    def cpus_of_worker(self, available: int) -> int:
        """CPUs of each training worker, if ``available`` CPUs are there for each."""
        return self.cpus_per_worker or (1 if self.use_gpu else available)
