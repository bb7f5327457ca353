"""What the ranker learns from a batch of windows.

Shapes: B windows, L history length, I items.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.features import NUM_GAP_BUCKETS
from recsys.model.ranker_spec import RankerSpec
from recsys.model.text_encoder import TextEncoder
from recsys.training.config import TrainConfig
from recsys.training.hard_candidates import hardest, without_repeats
from recsys.training.objective import Objective, TrainableRanker

NUM_ITEMS, TEXT_DIM, NUM_KINDS = 12, 6, 2
SMALL = RankerConfig(hidden_size=16, layers=2, heads=2, dropout=0.0, id_dropout=0.0)


def make_ranker(
    num_items: int = NUM_ITEMS, exclude_seen: bool = True, text_dim: int = TEXT_DIM, **train: Any
) -> TrainableRanker:
    """A ranker in evaluation mode, trained as these settings say."""
    spec = RankerSpec(
        num_items=num_items,
        text_dim=text_dim,
        item_dim=SMALL.hidden_size,
        num_event_kinds=NUM_KINDS,
        decoder=decoder_config(SMALL, 8),
        dropout=SMALL.dropout,
        id_dropout=SMALL.id_dropout,
        logit_bias=train.get("objective", "softmax") != "softmax",
    )
    objective = Objective.of(TrainConfig(**{"precision": "fp32"} | train), exclude_seen)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        counts = torch.randint(1, 9, (num_items,))
        ranker = TrainableRanker(spec, torch.randn(num_items, text_dim), counts, objective)
        torch.nn.init.normal_(ranker.id_embedding.weight)
    return ranker.eval()


def draw(num_users: int, length: int, seed: int = 0, num_items: int = NUM_ITEMS) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tops = (num_items, NUM_GAP_BUCKETS, NUM_KINDS + 1)
    items, gaps, events = (torch.randint(0, top, (num_users, length), generator=generator) for top in tops)
    return items, gaps, events


@pytest.mark.parametrize("train", [{}, {"full_softmax_items": 4, "negatives": 3}], ids=["full", "sampled"])
def test_a_few_sequences_are_learned_by_heart(train: dict[str, Any]) -> None:
    ranker = make_ranker(**train).train()
    items, gaps, events = draw(20, 6, seed=3)
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=2e-2)
    losses = []
    for _ in range(200):
        loss = ranker(items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.2


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("listwise", [False, True])
def test_mixed_precision_learns_the_same_where_the_device_has_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, listwise: bool
) -> None:
    """Bfloat16 has eight binary digits: losses and gradients are those of float32 but for about one in a hundred."""
    monkeypatch.setattr("recsys.training.objective.multiplies_bfloat16", lambda _device: native)
    items, gaps, events = draw(16, 6, seed=4)
    positions = torch.full((16,), 3) if listwise else None
    losses, gradients = [], []
    for precision in ("fp32", "auto"):
        ranker = make_ranker(precision=precision).train()
        torch.manual_seed(0)
        loss = ranker(
            items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:].contiguous(), positions=positions
        )
        loss.backward()
        losses.append(loss.detach())
        assert all(weight.grad.dtype == torch.float32 for weight in ranker.parameters() if weight.grad is not None)
        gradients.append(torch.cat([each.grad.flatten() for each in ranker.parameters() if each.grad is not None]))
    difference = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    assert losses[0].dtype == losses[1].dtype == torch.float32
    if native:
        torch.testing.assert_close(losses[1], losses[0], rtol=0.01, atol=0)
        assert 0 < difference < 0.05
    else:
        assert difference == 0


@pytest.mark.parametrize(
    "train",
    [
        {"objective": "gbce"},
        {"objective": "rating", "rating_max": 1.0},
        {"objective": "rating", "rating_max": 1.0, "rating_loss": "squared", "full_softmax_items": 4, "negatives": 8},
    ],
    ids=["gbce", "rating", "squared"],
)
def test_items_judged_by_themselves_are_learned_too(train: dict[str, Any]) -> None:
    ranker = make_ranker(pointwise_negatives=8, **train).train()
    items, gaps, events = draw(20, 6, seed=3)
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=1e-2)
    torch.manual_seed(0)  # of the negatives
    for _ in range(200):
        optimizer.zero_grad()
        ranker(items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:]).backward()
        optimizer.step()
    users, item_vectors = ranker.eval()(items[:, :-1], gaps[:, :-1], events[:, :-1])
    assert ((users @ item_vectors.T).argmax(dim=1) == items[:, -1]).float().mean() > 0.9


def test_a_rating_is_predicted() -> None:
    """Who reads 0 rates 1 with 5, who reads 2 rates 3 with 1: both were taken, one was liked."""
    ranker = make_ranker(objective="rating", pointwise_negatives=20).train()
    items, targets = torch.tensor([[0], [2]]), torch.tensor([[1], [3]])
    gaps = events = torch.zeros_like(items)
    optimizer = torch.optim.Adam(ranker.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        ranker(items, gaps, events, targets=targets, weights=torch.tensor([[5.0], [1.0]])).backward()
        optimizer.step()
    users, item_vectors = ranker.eval()(items, gaps, events)
    predicted = (users @ item_vectors.T + ranker.logit_bias).sigmoid().detach()
    assert predicted[0, 1] > 0.9
    assert 0.05 < predicted[1, 3] < 0.5


def test_mixed_precision_is_of_training_alone() -> None:
    items, gaps, events = draw(4, 6)
    exact, mixed = (make_ranker(precision=precision) for precision in ("fp32", "auto"))
    torch.testing.assert_close(mixed(items, gaps, events)[0], exact(items, gaps, events)[0], rtol=0, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, torch.tensor([3.0, 0.0, 1.0, 2.0, 1.0, 0.5, 4.0, 1.0])])
def test_only_wanted_positions_count_in_the_loss(weights: Tensor | None, smoothing: float) -> None:
    ranker, (items, gaps, events) = make_ranker(label_smoothing=smoothing), draw(3, 5)
    targets = torch.tensor([[1, 2, 3, 4, 5], [6, 7, -1, -1, -1], [8, -1, -1, -1, -1]])
    grid = None if weights is None else torch.full(targets.shape, 99.0).masked_scatter(targets >= 0, weights)
    with torch.no_grad():
        vectors = ranker.item_vectors()
        logits = ranker.hidden_states(ranker.history_tokens(vectors, items, gaps, events), gaps) @ vectors.T
        losses = F.cross_entropy(
            logits[targets >= 0], targets[targets >= 0], label_smoothing=smoothing, reduction="none"
        )
        expected = losses.mean() if weights is None else (losses * weights).sum() / weights.sum()
        found = ranker(items, gaps, events, targets=targets, weights=grid)
    torch.testing.assert_close(found, expected)


def test_a_sample_of_the_whole_catalog_is_the_full_loss() -> None:
    items, gaps, events = draw(3, 5)
    targets = torch.tensor([[1, 2, 3, 4, 5], [6, 7, -1, -1, -1], [8, -1, -1, -1, -1]])
    found = []
    for train in ({}, {"full_softmax_items": NUM_ITEMS - 1, "negatives": NUM_ITEMS}):
        ranker = make_ranker(**train)
        loss = ranker(items, gaps, events, targets=targets)
        loss.backward()
        found.append((loss.detach(), ranker.id_embedding.weight.grad, ranker.text_adapter.weight.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_sampled_step_looks_at_no_more_than_its_sample() -> None:
    """Neither forward nor backward makes a text or id vector of an item that is not in the sample."""
    ranker = make_ranker(num_items=5000, full_softmax_items=100, negatives=20)
    looked_at: list[int] = []
    ranker.text_adapter.register_forward_hook(lambda _module, _inputs, output: looked_at.append(len(output)))
    items, gaps, events = draw(3, 6, num_items=5000)
    torch.manual_seed(0)
    ranker(items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:]).backward()
    assert len(looked_at) == 1
    assert looked_at[0] <= 20 + 18
    assert ranker.id_embedding.weight.grad is not None
    touched = ranker.id_embedding.weight.grad.any(dim=1)
    assert touched.sum() == looked_at[0]
    assert touched[items].all()


def test_the_correction_brings_a_sampled_loss_near_the_full_one() -> None:
    """With flat logits, so that no single item decides the sum: all 1,000 weigh in, though some 60 are there."""
    items, gaps, events = draw(8, 6, num_items=1000)

    def loss(**train: Any) -> float:
        ranker = make_ranker(num_items=1000, **train)
        ranker.log_scale.data.zero_()
        torch.manual_seed(0)
        value: float = ranker(items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:]).item()
        return value

    full = loss()
    sampled = [loss(full_softmax_items=100, negatives=20, logq_strength=strength) for strength in (0.0, 0.5, 1.0)]
    assert sampled == sorted(sampled)
    assert sampled[2] == pytest.approx(full, abs=0.3)
    assert sampled[0] < full - 2


# --- the listwise loss

TARGETS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, -1, -1, -1], [8, -1, -1, -1, -1]])
POSITIONS = torch.tensor([3, 0, 0])


def with_history(items: Tensor, targets: Tensor) -> Tensor:
    """Items [B, L] padded where there is no target, as the loop gives them."""
    return torch.where(targets >= 0, items, NUM_ITEMS)


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("weights", [None, torch.tensor([[9.0, 9, 9, 2, 9], [1, 9, 0, 0, 0], [0.5, 0, 0, 0, 0]])])
def test_the_listwise_loss_tells_the_target_from_all_when_all_are_candidates(
    weights: Tensor | None, exclude_seen: bool
) -> None:
    """As many candidates as items: every item (but the history) is one, each once, scored by the candidate pass."""
    ranker = make_ranker(exclude_seen=exclude_seen, listwise_candidates=10 * NUM_ITEMS)
    torch.nn.init.normal_(ranker.candidate_head.weight)
    items, gaps, events = draw(3, 5)
    items = with_history(items, TARGETS)
    with torch.no_grad():
        softmax = ranker(items, gaps, events, targets=TARGETS, weights=weights)
        both = ranker(items, gaps, events, targets=TARGETS, weights=weights, positions=POSITIONS)
        losses = []
        for row, position in enumerate(POSITIONS.tolist()):
            target = int(TARGETS[row, position])
            seen = set(items[row, : position + 1].tolist()) - {target} if exclude_seen else set()
            cut = [grid[row : row + 1, : position + 1] for grid in (items, gaps, events)]
            logits = ranker(cut[0], cut[1], cut[2], torch.arange(NUM_ITEMS)[None])
            logits[0, list(seen)] = -torch.inf
            losses.append(F.cross_entropy(logits, torch.tensor([target])))
        own = torch.ones(3) if weights is None else weights.gather(1, POSITIONS[:, None]).squeeze(1)
        expected = (torch.stack(losses) * own).sum() / own.sum()
    torch.testing.assert_close(both - softmax, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("train", [{}, {"full_softmax_items": 4, "negatives": 8}], ids=["full", "sampled"])
def test_random_candidates_stand_for_all_that_are_not_the_hardest(train: dict[str, Any]) -> None:
    """The mean of exp(loss) over many draws is that of the loss over all items: few candidates, no bias."""
    ranker = make_ranker(listwise_candidates=5, **train)
    torch.nn.init.normal_(ranker.candidate_head.weight, std=0.1, generator=torch.Generator().manual_seed(5))
    ranker.log_scale.data.zero_()
    (items, gaps, events), target, others_of_batch = draw(1, 3), 7, [5, 6]
    # the others' shares are next to nothing: the sample is drawn evenly, but for the batch's own items
    ranker.counts.fill_(1)[items[0, 0]] = 10**9
    targets, positions = torch.tensor([[*others_of_batch, target]]), torch.tensor([2])
    torch.manual_seed(0)
    estimates = []
    with torch.no_grad():
        for _ in range(500):
            state = torch.get_rng_state()
            softmax = ranker(items, gaps, events, targets=targets)
            torch.set_rng_state(state)  # the same sample of the catalog
            estimates.append(ranker(items, gaps, events, targets=targets, positions=positions) - softmax)
        logits = ranker(items, gaps, events, torch.arange(NUM_ITEMS)[None])[0]
    if train:  # always there, and weighed as if drawn like the others
        logits[others_of_batch] -= torch.tensor(1 - (1 - 1 / NUM_ITEMS) ** 8).log()
    logits[items[0]] = -torch.inf
    exact = F.cross_entropy(logits, torch.tensor(target)).item()
    assert torch.stack(estimates).exp().mean().log().item() == pytest.approx(exact, abs=0.1)
    assert torch.stack(estimates).std() > 0.1, "the draws are no draws"


def test_hard_candidates_are_taken_as_they_are() -> None:
    """No gradient flows into the choice; the candidate pass and the history both learn."""
    ranker = make_ranker(listwise_candidates=5).train()
    torch.nn.init.normal_(ranker.candidate_head.weight)
    items, gaps, events = draw(3, 5)
    ranker(with_history(items, TARGETS), gaps, events, targets=TARGETS, positions=POSITIONS).backward()
    for parameter in ranker.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert ranker.candidate_embedding.grad is not None
    assert ranker.candidate_embedding.grad.any()


def test_a_sampled_step_takes_its_candidates_from_the_sample() -> None:
    ranker = make_ranker(num_items=5000, full_softmax_items=100, negatives=20, listwise_candidates=10)
    items, gaps, events = draw(3, 6, num_items=5000)
    looked_at: list[int] = []
    ranker.text_adapter.register_forward_hook(lambda _module, _inputs, output: looked_at.append(len(output)))
    loss = ranker(items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:], positions=torch.tensor([4, 2, 0]))
    assert loss.isfinite()
    assert looked_at[0] <= 38
    assert len(looked_at) == 1


@pytest.mark.parametrize("excluded", [[[4, 4]], [[4, 5]], [[0, 1]]])
def test_the_hardest_are_the_best_that_are_not_excluded(excluded: list[list[int]]) -> None:
    """Column 5 is padding."""
    logits = torch.tensor([[0.1, 5.0, 3.0, 4.0, 9.0]])
    left = [item for item in (4, 1, 3, 2, 0) if item not in excluded[0]]
    for num in range(1, 8):
        found = hardest(logits, torch.tensor(excluded), num)[0].tolist()
        assert found == (left + [5] * 5)[: min(num, 5)]


def test_a_candidate_stands_in_a_row_once() -> None:
    candidates = torch.tensor([[3, 1, 3, 2, 1, 9], [9, 9, 0, 0, 0, 4]])
    assert without_repeats(candidates, 9).tolist() == [[3, 1, 9, 2, 9, 9], [9, 9, 0, 9, 9, 4]]


# --- the adversarial pass


def plain_and_perturbed_loss(ranker: TrainableRanker) -> tuple[float, float]:
    """Loss of a batch, and of the same batch with perturbed tokens."""
    items, gaps, events = draw(3, 5)
    named = {"targets": TARGETS, "weights": None}
    plain = ranker(with_history(items, TARGETS), gaps, events, **named)
    plain.backward()
    with torch.no_grad():
        perturbed = ranker(with_history(items, TARGETS), gaps, events, perturbed=True, **named)
    return plain.item(), perturbed.item()


def test_a_perturbation_raises_the_loss_as_the_gradient_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the first order by ε · |g| for each window."""
    ranker = make_ranker(adversarial_epsilon=1e-3)
    ranker.log_scale.data.zero_()  # a smoother loss
    plain, perturbed = plain_and_perturbed_loss(ranker)
    watched: list[Tensor] = []

    def keep(tokens: Tensor) -> Tensor:
        tokens.retain_grad()
        watched.append(tokens)
        return tokens

    monkeypatch.setattr(ranker._perturbation, "keep", keep)
    items, gaps, events = draw(3, 5)
    ranker(with_history(items, TARGETS), gaps, events, targets=TARGETS).backward()
    assert watched[0].grad is not None
    slope = watched[0].grad.flatten(1).norm(dim=1).sum().item()
    assert perturbed - plain == pytest.approx(1e-3 * slope, rel=0.02)
    assert slope > 0.1


def test_a_larger_perturbation_raises_the_loss_more() -> None:
    rises = []
    for length in (0.01, 0.1, 1.0):
        plain, perturbed = plain_and_perturbed_loss(make_ranker(adversarial_epsilon=length))
        rises.append(perturbed - plain)
    assert 0 < rises[0] < rises[1] < rises[2]


def test_gradients_of_both_passes_add_up() -> None:
    """Without those of the perturbation itself, which is a constant."""
    items, gaps, events = draw(3, 5)
    named = {"targets": TARGETS}
    ranker = make_ranker(adversarial_epsilon=0.5)
    ranker(with_history(items, TARGETS), gaps, events, **named).backward()
    first = {
        name: parameter.grad.clone() for name, parameter in ranker.named_parameters() if parameter.grad is not None
    }
    ranker(with_history(items, TARGETS), gaps, events, perturbed=True, **named).backward()
    both = {name: parameter.grad for name, parameter in ranker.named_parameters() if parameter.grad is not None}
    assert set(both) == set(first)
    assert (both["text_adapter.weight"] - 2 * first["text_adapter.weight"]).abs().max() > 1e-4
    assert torch.nn.functional.cosine_similarity(
        (both["text_adapter.weight"] - first["text_adapter.weight"]).flatten(),
        first["text_adapter.weight"].flatten(),
        dim=0,
    ) > 0.5  # fmt: skip


def test_a_perturbed_pass_without_a_plain_one_before_is_a_defect() -> None:
    items, gaps, events = draw(3, 5)
    with pytest.raises(AssertionError, match="must come after"):
        make_ranker(adversarial_epsilon=0.5)(items, gaps, events, targets=TARGETS, perturbed=True)


def test_what_nobody_took_yet_is_no_negative() -> None:
    """An item without interactions leaves the loss and every gradient as they are without it."""
    items, gaps, events = draw(3, 5, num_items=NUM_ITEMS - 1)
    found = []
    for num_items in (NUM_ITEMS, NUM_ITEMS - 1):
        ranker = make_ranker()
        ranker.counts.fill_(1)[num_items:] = 0
        ranker.num_known = num_items
        loss = ranker(items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:])
        loss.backward()
        found.append((loss.detach(), ranker.id_embedding.weight.grad))
    assert found[0][0] > found[1][0]
    assert found[0][1][-1].any()
    assert not found[1][1][-1].any()


# --- the text encoder learns too


def learning_ranker(decoder: Path, **train: Any) -> tuple[TrainableRanker, list[str]]:
    """A ranker over texts that differ from each other, whose stored vectors are those of the encoder that learns."""
    texts = [f"kettle {'scarf ' * number}" for number in range(NUM_ITEMS)]
    encoder = TextEncoder.load(str(decoder), max_tokens=16)
    vectors = torch.from_numpy(encoder.encode(texts))
    ranker = make_ranker(text_dim=vectors.shape[1], **train)
    ranker.text_vectors.copy_(vectors)
    ranker.add_encoder(CatalogEncoder(encoder, texts, batch_size=4, lora_rank=None))
    return ranker, texts


def test_a_frozen_encoder_has_no_parameters_and_no_part_in_the_loss() -> None:
    ranker = make_ranker()
    assert ranker.encoder is None
    assert not [name for name, _ in ranker.named_parameters() if name.startswith("encoder")]


@pytest.mark.parametrize("train", [{}, {"full_softmax_items": 4, "negatives": 3}], ids=["full", "sampled"])
def test_an_encoder_that_learns_leaves_the_loss_as_it_is(decoder: Path, train: dict[str, Any]) -> None:
    ranker, _ = learning_ranker(decoder, **train)
    items, gaps, events = draw(5, 6, seed=3)
    losses = []
    for encoder in (ranker.encoder, None):
        ranker.encoder = encoder
        torch.manual_seed(0)
        losses.append(ranker(items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:]).item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("train", [{}, {"full_softmax_items": 4, "negatives": 3}], ids=["full", "sampled"])
@pytest.mark.parametrize("listwise", [False, True])
def test_the_encoder_learns_through_the_items_of_the_batch_alone(
    decoder: Path, train: dict[str, Any], listwise: bool
) -> None:
    ranker, _ = learning_ranker(decoder, **train)
    assert ranker.encoder is not None
    read: list[Tensor] = []

    def watch(_: torch.nn.Module, arguments: tuple[Tensor, int], vectors: Tensor) -> None:
        vectors.retain_grad()
        read.extend((arguments[0], vectors))

    ranker.encoder.register_forward_hook(watch)
    items = torch.tensor([[5, 2, 7], [2, 2, NUM_ITEMS]])
    targets = torch.tensor([[2, 7, 9], [2, 5, -1]])
    positions = torch.tensor([2, 1]) if listwise else None
    ranker(items, torch.ones_like(items), torch.ones_like(items), targets=targets, positions=positions).backward()
    rows, vectors = read
    assert rows.tolist() == [2, 5, 7, 9]
    assert vectors.grad is not None
    assert (vectors.grad.abs().sum(dim=1) > 0).all()
    layers = dict(ranker.encoder.transformer.named_parameters())
    assert layers["layers.0.mlp.up_proj.weight"].grad.abs().sum() > 0
    assert not ranker.text_vectors.requires_grad


def test_the_rankers_weights_are_saved_without_the_encoders(decoder: Path) -> None:
    ranker, _ = learning_ranker(decoder)
    assert set(ranker.whole_weights()) == set(make_ranker(text_dim=32).state_dict())


def test_rows_are_encoded_as_they_are_now(decoder: Path) -> None:
    ranker, texts = learning_ranker(decoder)
    rows = torch.tensor([3, 0, 11])
    expected = TextEncoder.load(str(decoder), max_tokens=16).encode([texts[row] for row in rows])
    torch.testing.assert_close(ranker(rows=rows).detach(), torch.from_numpy(expected), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch looks at all it reads
@pytest.mark.parametrize("compiler", ["the usual one", "none"])
def test_a_compiled_decoder_learns_the_same(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For batches of any size, without a new compilation; if compilation fails, the log says so."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    if compiler == "none":
        monkeypatch.setattr("torch._inductor.config.cpp.cxx", (str(tmp_path / "no-compiler"),))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain, compiled = make_ranker().train(), make_ranker().train()
    compiled.compile_decoder()
    for num_users in (16, 7, 2):
        items, gaps, events = draw(num_users, 6, seed=num_users)
        losses = []
        for ranker in (plain, compiled):
            ranker.zero_grad()
            loss = ranker(items[:, :-1], gaps[:, :-1], events[:, :-1], targets=items[:, 1:].contiguous())
            loss.backward()
            losses.append(loss.detach())
        torch.testing.assert_close(losses[1], losses[0])
        for name, weight in plain.named_parameters():
            torch.testing.assert_close(compiled.get_parameter(name).grad, weight.grad, rtol=1e-4, atol=1e-6)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    told = [record.message for record in caplog.records if record.name == "recsys.training.objective"]
    if compiler == "none":
        assert len(told) == 1
        assert "cannot be compiled" in told[0]
        assert "no-compiler" in told[0]
    else:
        assert not told
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
