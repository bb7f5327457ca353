import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.model.dropout import Dropout


@given(st.lists(st.integers(0, 7), min_size=1, max_size=3), st.floats(0, 0.99), st.integers(0, 99))
def test_each_feature_is_kept_larger_or_gone(shape: list[int], share: float, seed: int) -> None:
    torch.manual_seed(seed)
    features = torch.randn(shape)
    dropped = Dropout(share).train()(features)
    assert dropped.shape == features.shape
    scale = 256 / (256 - min(round(256 * share), 255))
    torch.testing.assert_close(dropped, torch.where(dropped == 0, 0.0, features * scale))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.9])
def test_the_share_is_dropped_everywhere_alike(share: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(share).train()(torch.ones(1000, 64))
    error = 4 * (share * (1 - share) / 1000) ** 0.5
    assert ((dropped == 0).float().mean(dim=0) - share).abs().max() < error + 1 / 256
    assert abs(dropped.mean() - 1) < 0.05


def test_masks_differ_and_come_back_with_their_seed() -> None:
    dropout, features = Dropout(0.5).train(), torch.ones(8, 8)
    torch.manual_seed(1)
    first, second = dropout(features), dropout(features)
    torch.manual_seed(1)
    assert not torch.equal(first, second)
    assert torch.equal(first, dropout(features))


def test_gradients_are_of_what_is_kept() -> None:
    torch.manual_seed(0)
    features = torch.ones(100, requires_grad=True)
    dropped = Dropout(0.25).train()(features)
    dropped.sum().backward()
    assert torch.equal(features.grad, dropped.detach())  # type: ignore[arg-type]


def test_nothing_is_dropped_outside_of_training() -> None:
    features = torch.randn(5)
    assert Dropout(0.5).eval()(features) is features
    assert Dropout(0.0).train()(features) is features


def test_half_precision_stays() -> None:
    assert Dropout(0.5).train()(torch.ones(9, dtype=torch.bfloat16)).dtype == torch.bfloat16
