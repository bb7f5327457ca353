"""Losses of single items, against their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from recsys.model.pointwise_losses import ItemLogits, generalised_cross_entropy, rating_error

NUM_ITEMS = 50


def drawn(num: int = 6, num_negatives: int = 8, dim: int = 4) -> ItemLogits:
    generator = torch.Generator().manual_seed(0)
    hidden, items = torch.randn(num, dim, generator=generator), torch.randn(NUM_ITEMS, dim, generator=generator)
    targets = torch.randint(NUM_ITEMS, (num,), generator=generator)
    negatives = torch.randint(NUM_ITEMS, (1, num_negatives), generator=generator)
    negatives[0, -1] = targets[0]
    return ItemLogits.of(hidden, items, targets, negatives, torch.tensor([-1.0]))


def test_a_target_is_no_negative_of_itself() -> None:
    logits = drawn()
    assert not logits.counts[0, -1]
    torch.testing.assert_close(logits.others[0, -1], logits.taken[0])


@pytest.mark.parametrize("num_draws", [1, 2, 4, 7])
def test_positions_that_follow_each_other_share_a_draw(num_draws: int) -> None:
    hidden, items = torch.randn(7, 4), torch.randn(NUM_ITEMS, 4)
    targets, negatives = torch.arange(7), torch.randint(NUM_ITEMS, (num_draws, 8))
    logits = ItemLogits.of(hidden, items, targets, negatives, torch.zeros(1))
    sharing = math.ceil(7 / num_draws)
    for row in range(7):
        own = negatives[row // sharing]
        torch.testing.assert_close(logits.others[row], items[own] @ hidden[row])
        assert logits.counts[row].tolist() == (own != row).tolist()


@pytest.mark.parametrize("calibration", [0.0, 0.5, 1.0])
def test_gbce_is_its_formula(calibration: float) -> None:
    logits = drawn()
    share = 8 / (NUM_ITEMS - 1)
    beta = share * (calibration * (1 - 1 / share) + 1 / share)
    expected = 0.0
    for taken, others, counts in zip(logits.taken, logits.others, logits.counts, strict=True):
        expected -= beta * math.log(taken.sigmoid())
        expected -= sum(math.log(1 - other.sigmoid()) for other in others[counts])
    found = generalised_cross_entropy(logits, NUM_ITEMS, calibration)
    assert float(found) == pytest.approx(expected / len(logits.taken), rel=1e-4)


def test_without_calibration_gbce_is_binary_cross_entropy() -> None:
    logits = drawn()
    plain = -F.logsigmoid(logits.taken) - (F.logsigmoid(-logits.others) * logits.counts).sum(dim=1)
    torch.testing.assert_close(generalised_cross_entropy(logits, NUM_ITEMS, 0.0), plain.mean())


def test_a_position_of_weight_0_does_not_count() -> None:
    logits, weights = drawn(), torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    two = ItemLogits(taken=logits.taken[:2], others=logits.others[:2], counts=logits.counts[:2])
    torch.testing.assert_close(
        generalised_cross_entropy(logits, NUM_ITEMS, 0.5, weights),
        generalised_cross_entropy(two, NUM_ITEMS, 0.5, weights[:2]),
    )
    torch.testing.assert_close(rating_error(logits, weights / 2, False), rating_error(two, weights[:2] / 2, False))


@pytest.mark.parametrize("squared", [False, True])
def test_the_error_is_smallest_where_ratings_are_right(squared: bool) -> None:
    ratings = torch.tensor([0.2, 0.6, 0.9])
    taken = torch.zeros(3, requires_grad=True)
    others = torch.full((3, 5), -20.0)
    optimizer = torch.optim.Adam([taken], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        logits = ItemLogits(taken=taken, others=others, counts=torch.ones(3, 5, dtype=torch.bool))
        rating_error(logits, ratings, squared).backward()
        optimizer.step()
    torch.testing.assert_close(taken.detach().sigmoid(), ratings, atol=0.02, rtol=0)
