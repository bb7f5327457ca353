"""The losses: the same numbers as the plain softmax, without its memory or without its items."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from recsys.model.losses import full_softmax, listwise_softmax, sampled_softmax


def problem(num_positions: int, num_items: int, dim: int = 8, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Scaled states, items of length 1 and targets, some of them the same, in float64."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_positions, dim, generator=generator, dtype=torch.float64) * 4
    items = F.normalize(torch.randn(num_items, dim, generator=generator, dtype=torch.float64), dim=1)
    targets = torch.randint(0, num_items, (num_positions,), generator=generator)
    return hidden, items, targets


def loss_and_gradients(loss: Any, hidden: torch.Tensor, items: torch.Tensor) -> list[torch.Tensor]:
    hidden, items = hidden.clone().requires_grad_(), items.clone().requires_grad_()
    value = loss(hidden, items)
    (3 * value).backward()  # a factor from further up must arrive
    assert hidden.grad is not None
    assert items.grad is not None
    return [value.detach(), hidden.grad, items.grad]


@given(st.integers(1, 20), st.integers(1, 30), st.sampled_from([1, 2, 7, 20, 1000]), st.integers(0, 99))
def test_equals_cross_entropy_in_value_and_gradients(num_positions: int, num_items: int, block: int, seed: int) -> None:
    hidden, items, targets = problem(num_positions, num_items, seed=seed)
    expected = loss_and_gradients(lambda h, v: F.cross_entropy(h @ v.T, targets), hidden, items)
    found = loss_and_gradients(lambda h, v: full_softmax(h, v, targets, block=block), hidden.float(), items.float())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    hidden, items, targets = problem(4, 5, dim=3)
    inputs = (hidden.float().requires_grad_(), items.float().requires_grad_())
    with pytest.warns(UserWarning, match="double precision"):
        assert torch.autograd.gradcheck(
            lambda h, v: full_softmax(h, v, targets, block=3), inputs, eps=1e-2, atol=2e-3, rtol=1e-2
        )


def test_gradients_are_for_who_asks() -> None:
    hidden, items, targets = (tensor.float() if tensor.is_floating_point() else tensor for tensor in problem(6, 9))
    expected = loss_and_gradients(lambda h, v: full_softmax(h, v, targets), hidden, items)
    for place in (0, 1):
        asking = [hidden.clone(), items.clone()]
        asking[place].requires_grad_()
        full_softmax(asking[0], asking[1], targets).mul(3).backward()
        torch.testing.assert_close(asking[place].grad, expected[1 + place])
        assert asking[1 - place].grad is None


def test_without_gradients_there_is_only_the_value() -> None:
    hidden, items, targets = problem(10, 7)
    with torch.no_grad():
        loss = full_softmax(hidden.float(), items.float(), targets, block=3)
    assert not loss.requires_grad
    torch.testing.assert_close(loss.double(), F.cross_entropy(hidden @ items.T, targets), atol=1e-5, rtol=1e-5)


def test_a_sure_model_overflows_nothing() -> None:
    hidden, items, targets = problem(5, 6)
    found = loss_and_gradients(lambda h, v: full_softmax(h, v, targets), 1e4 * hidden.float(), items.float())
    assert all(tensor.isfinite().all() for tensor in found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_its_digits_only(dtype: torch.dtype) -> None:
    hidden, items, targets = problem(2000, 2000)
    scale = 2.0**12
    hidden, items = (hidden / 4).to(dtype), items.to(dtype)
    expected = loss_and_gradients(
        lambda h, v: scale * F.cross_entropy(h @ v.T, targets), hidden.double(), items.double()
    )
    found = loss_and_gradients(lambda h, v: scale * full_softmax(h, v, targets, block=256), hidden, items)
    for ours, theirs in zip(found, expected, strict=True):
        difference = (ours.double() - theirs).norm() / theirs.norm()
        assert difference < {torch.float16: 0.003, torch.bfloat16: 0.02}[dtype]


def test_mixed_precision_multiplies_in_it_alone() -> None:
    """Under autocast weights and gradients stay in float32, and only the products lose digits."""
    hidden, items, targets = (each.float() if each.is_floating_point() else each for each in problem(2000, 300))

    def mixed(h: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return full_softmax(h, v, targets, block=256)

    expected = loss_and_gradients(lambda h, v: full_softmax(h, v, targets), hidden, items)
    found = loss_and_gradients(mixed, hidden, items)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        difference = (ours - theirs).norm() / theirs.norm()
        assert 0 < difference < 0.02


def test_half_precision_keeps_the_unlikely() -> None:
    """1 / (positions · items) is nothing to fp16: the mean must not be taken before the loss scale is in.

    All items share their first coordinate, along which no state can gain: what the many unlikely pull and what the
    target pushes cancel there.
    """
    num_positions, num_items = 500, 40_000
    items = torch.zeros(num_items, 2, dtype=torch.float16)
    items[:, 0] = 1
    hidden = torch.zeros(num_positions, 2, dtype=torch.float16, requires_grad=True)
    loss = full_softmax(hidden, items, torch.arange(num_positions), block=100)
    (loss * 2.0**14).backward()
    assert hidden.grad is not None
    assert hidden.grad[:, 0].abs().max() < 0.01 * 2**14 / num_positions


class LargestTensor(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation answers, on the way back too."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        for tensor in answer if isinstance(answer, tuple) else (answer,):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return answer


@pytest.mark.parametrize("block", [10, 64])
def test_no_tensor_is_larger_than_a_block_of_logits(block: int) -> None:
    hidden, items, targets = problem(640, 300)
    with LargestTensor() as largest:
        loss_and_gradients(lambda h, v: full_softmax(h, v, targets, block=block), hidden.float(), items.float())
    assert largest.numel <= max(block * 300, 640 * 8)
    with LargestTensor() as largest:
        loss_and_gradients(lambda h, v: F.cross_entropy(h @ v.T, targets), hidden.float(), items.float())
    assert largest.numel == 640 * 300  # what the measure says of the plain way


def test_no_target_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="no target"):
        full_softmax(torch.zeros(0, 4), torch.zeros(3, 4), torch.zeros(0, dtype=torch.int64))


# --- weights and label smoothing

smoothings = st.sampled_from([0.0, 0.1, 0.7])
some_weights = st.sampled_from(["none", "even", "uneven"])


def draw_weights(kind: str, num: int, seed: int) -> torch.Tensor | None:
    """Float64 weights, some of them zero where they are uneven."""
    if kind == "none":
        return None
    generator = torch.Generator().manual_seed(seed + 1)
    uneven = torch.rand(num, generator=generator, dtype=torch.float64) * 5
    uneven[1:][torch.rand(num - 1, generator=generator) < 0.3] = 0.0
    return torch.full((num,), 0.3, dtype=torch.float64) if kind == "even" else uneven


def plain(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, smoothing: float) -> torch.Tensor:
    losses = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


@given(
    st.integers(1, 12), st.integers(1, 15), st.sampled_from([1, 5, 100]), some_weights, smoothings, st.integers(0, 99)
)
def test_weights_and_smoothing_equal_the_plain_way(
    num_positions: int, num_items: int, block: int, kind: str, smoothing: float, seed: int
) -> None:
    hidden, items, targets = problem(num_positions, num_items, seed=seed)
    weights = draw_weights(kind, num_positions, seed)
    expected = loss_and_gradients(lambda h, v: plain(h @ v.T, targets, weights, smoothing), hidden, items)
    found = loss_and_gradients(
        lambda h, v: full_softmax(h, v, targets, weights=weights, label_smoothing=smoothing, block=block),
        hidden.float(),
        items.float(),
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-4, rtol=1e-4)


def test_weights_that_are_all_zero_teach_nothing() -> None:
    hidden, items, targets = problem(4, 5)
    for found in (
        loss_and_gradients(
            lambda h, v: full_softmax(h, v, targets, weights=torch.zeros(4)), hidden.float(), items.float()
        ),
        loss_and_gradients(
            lambda h, v: listwise_softmax(h @ v.T, targets, weights=torch.zeros(4)), hidden.float(), items.float()
        ),
    ):
        assert not any(tensor.any() for tensor in found)


# --- the sampled softmax


@given(st.integers(1, 12), st.integers(1, 15), st.floats(0, 1), some_weights, smoothings, st.integers(0, 99))
def test_sampled_equals_the_plain_way(
    num_positions: int, num_sampled: int, strength: float, kind: str, smoothing: float, seed: int
) -> None:
    """Logits less strength · log q, but for each row's own target."""
    hidden, items, targets = problem(num_positions, num_sampled, seed=seed)
    log_q = torch.rand(num_sampled, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).log()
    weights = draw_weights(kind, num_positions, seed)
    others = F.one_hot(targets, num_sampled) == 0
    expected = loss_and_gradients(
        lambda h, v: plain(h @ v.T - strength * log_q * others, targets, weights, smoothing), hidden, items
    )
    found = loss_and_gradients(
        lambda h, v: sampled_softmax(
            h, v, targets, log_q, strength, weights=weights, label_smoothing=smoothing, block=5
        ),
        hidden.float(),
        items.float(),
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-4, rtol=1e-4)


def test_a_sample_of_everything_is_the_full_softmax() -> None:
    hidden, items, targets = (tensor.float() if tensor.is_floating_point() else tensor for tensor in problem(9, 20))
    sure = torch.zeros(20)
    for strength in (0.0, 0.4, 1.0):
        found = loss_and_gradients(lambda h, v, s=strength: sampled_softmax(h, v, targets, sure, s), hidden, items)
        for ours, theirs in zip(
            found, loss_and_gradients(lambda h, v: full_softmax(h, v, targets), hidden, items), strict=True
        ):
            torch.testing.assert_close(ours, theirs)


def test_samples_estimate_the_full_softmax_without_bias() -> None:
    """The mean of exp(loss) over many samples, popular items drawn more often, is that of the full loss.

    (exp(loss) = the partition sum over exp(target), which is what is estimated.) Without the correction it is far off.
    """
    generator = torch.Generator().manual_seed(0)
    hidden, items, _ = problem(1, 40, seed=3)
    hidden, items, target = hidden.float() / 2, items.float(), torch.tensor([7])
    probability = torch.linspace(0.05, 0.9, 40)
    probability[7] = 1.0
    estimates: dict[float, list[float]] = {0.0: [], 1.0: []}
    for _ in range(2000):
        rows = (torch.rand(40, generator=generator) < probability).nonzero().squeeze(1)
        place = torch.searchsorted(rows, target)
        for strength, values in estimates.items():
            loss = sampled_softmax(hidden, items[rows], place, probability[rows].log(), strength)
            values.append(loss.exp().item())
    exact = full_softmax(hidden, items, target).exp().item()
    corrected, raw = (sum(estimates[strength]) / 2000 for strength in (1.0, 0.0))
    assert corrected == pytest.approx(exact, rel=0.03)
    assert raw < 0.7 * exact


# --- the listwise softmax


@given(st.integers(1, 8), st.integers(1, 9), some_weights, smoothings, st.integers(0, 99))
def test_listwise_equals_the_plain_way(num: int, num_candidates: int, kind: str, smoothing: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num, num_candidates, generator=generator, dtype=torch.float64).requires_grad_()
    targets = torch.randint(num_candidates, (num,), generator=generator)
    weights = draw_weights(kind, num, seed)
    plain(logits, targets, weights, smoothing).backward()
    expected, logits.grad = logits.grad, None
    loss = listwise_softmax(logits, targets, weights=weights, label_smoothing=smoothing)
    loss.backward()
    torch.testing.assert_close(logits.grad, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss.double(), plain(logits, targets, weights, smoothing), atol=1e-5, rtol=1e-5)


@given(st.integers(1, 6), st.integers(1, 6), smoothings, st.integers(0, 99))
def test_places_without_a_candidate_do_not_count(num: int, missing: int, smoothing: float, seed: int) -> None:
    logits = torch.randn(3, num, generator=torch.Generator().manual_seed(seed))
    targets = torch.tensor([0, num - 1, num // 2])
    padded = F.pad(logits, (0, missing), value=-torch.inf).requires_grad_()
    loss = listwise_softmax(padded, targets, label_smoothing=smoothing)
    torch.testing.assert_close(loss, listwise_softmax(logits, targets, label_smoothing=smoothing))
    loss.backward()
    assert padded.grad is not None
    assert padded.grad.isfinite().all()
    assert not padded.grad[:, num:].any()
