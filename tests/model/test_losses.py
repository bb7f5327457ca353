"""The blocked softmax: the same numbers as the plain one, without its memory."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from recsys.model.losses import full_softmax


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
    found = loss_and_gradients(lambda h, v: full_softmax(h, v, targets, block), hidden.float(), items.float())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    hidden, items, targets = problem(4, 5, dim=3)
    inputs = (hidden.float().requires_grad_(), items.float().requires_grad_())
    with pytest.warns(UserWarning, match="double precision"):
        assert torch.autograd.gradcheck(
            lambda h, v: full_softmax(h, v, targets, 3), inputs, eps=1e-2, atol=2e-3, rtol=1e-2
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
    found = loss_and_gradients(lambda h, v: scale * full_softmax(h, v, targets, 256), hidden, items)
    for ours, theirs in zip(found, expected, strict=True):
        difference = (ours.double() - theirs).norm() / theirs.norm()
        assert difference < {torch.float16: 0.003, torch.bfloat16: 0.02}[dtype]


def test_half_precision_keeps_the_unlikely() -> None:
    """1 / (positions · items) is nothing to fp16: the mean must not be taken before the loss scale is in.

    All items share their first coordinate, along which no state can gain: what the many unlikely pull and what the
    target pushes cancel there.
    """
    num_positions, num_items = 500, 40_000
    items = torch.zeros(num_items, 2, dtype=torch.float16)
    items[:, 0] = 1
    hidden = torch.zeros(num_positions, 2, dtype=torch.float16, requires_grad=True)
    loss = full_softmax(hidden, items, torch.arange(num_positions), 100)
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
        loss_and_gradients(lambda h, v: full_softmax(h, v, targets, block), hidden.float(), items.float())
    assert largest.numel <= max(block * 300, 640 * 8)
    with LargestTensor() as largest:
        loss_and_gradients(lambda h, v: F.cross_entropy(h @ v.T, targets), hidden.float(), items.float())
    assert largest.numel == 640 * 300  # what the measure says of the plain way


def test_no_target_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="no target"):
        full_softmax(torch.zeros(0, 4), torch.zeros(3, 4), torch.zeros(0, dtype=torch.int64))
