"""Whitened text vectors."""

import pytest
import torch

from recsys.model.text_adapter import TextAdapter, fit_whitening


def correlated(num: int = 400, dim: int = 6) -> torch.Tensor:
    """[num, dim] vectors with a long common part, and most of the rest in one direction."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([5.0] + [0.1] * (dim - 1))
    mixing = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
    return torch.randn(num, dim, generator=generator) * scales @ mixing + 3.0


def test_whitened_vectors_have_no_mean_and_no_direction_of_their_own() -> None:
    vectors = correlated()
    mean, whitening = fit_whitening(vectors, shrinkage=0.0)
    white = (vectors - mean) @ whitening
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(6) / 6, atol=1e-4, rtol=0)
    assert white.mean(dim=0).abs().max() < 1e-4


def test_shrinkage_keeps_small_directions_small() -> None:
    vectors = correlated()
    spreads = []
    for shrinkage in (0.0, 1.0, 1e6):
        mean, whitening = fit_whitening(vectors, shrinkage)
        white = (vectors - mean) @ whitening
        assert float(white.square().sum(dim=1).mean()) == pytest.approx(1.0, rel=1e-3)
        variance = torch.linalg.eigvalsh(white.T @ white / len(white))
        spreads.append(float(variance[-1] / variance[0]))
    assert spreads[0] < 1.1 < spreads[1] < spreads[2]


@pytest.mark.parametrize("num", [1, 5])
def test_a_catalog_of_one_text_is_no_trouble(num: int) -> None:
    vectors = torch.ones(1, 4).repeat(num, 1)
    mean, whitening = fit_whitening(vectors)
    assert torch.equal(mean, vectors[0])
    assert torch.equal(whitening, torch.eye(4))


def test_what_has_no_text_takes_no_part() -> None:
    vectors = correlated()
    texts, all_texts, no_text = (TextAdapter(6, 3) for _ in range(3))
    texts.fit(vectors)
    all_texts.fit(torch.cat([torch.zeros(3, 6), vectors]))
    torch.testing.assert_close(all_texts.mean, texts.mean)
    torch.testing.assert_close(all_texts.whitening, texts.whitening)
    no_text.fit(torch.zeros(3, 6))
    assert torch.equal(no_text.whitening, torch.eye(6))


def test_the_adapter_is_its_layer_over_whitened_vectors() -> None:
    vectors = correlated()
    adapter = TextAdapter(6, 3)
    raw = torch.nn.functional.linear(vectors, adapter.weight, adapter.bias)
    torch.testing.assert_close(adapter(vectors), raw)
    adapter.fit(vectors)
    white = (vectors - adapter.mean) @ adapter.whitening
    expected = torch.nn.functional.linear(white, adapter.weight, adapter.bias)
    torch.testing.assert_close(adapter(vectors), expected, atol=1e-5, rtol=1e-4)


def test_mean_and_matrix_are_saved_and_not_trained() -> None:
    adapter = TextAdapter(6, 3)
    adapter.fit(correlated())
    assert {"mean", "whitening"} <= adapter.state_dict().keys()
    assert {name for name, _ in adapter.named_parameters()} == {"weight", "bias"}
