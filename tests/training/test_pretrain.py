"""The encoder made from the catalog alone: it learns, it is the same every time, and odd catalogs do not stop it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.model.config import ScratchEncoderConfig
from recsys.model.text_encoder import TextEncoder
from recsys.training.pretrain import contrastive_loss, endless_batches, pretrain_encoder, some_tokens, train_tokenizer

TINY = ScratchEncoderConfig(
    hidden_size=32, layers=1, heads=2, vocab_size=400, pretrain_steps=20, pretrain_batch_size=16, learning_rate=3e-3
)
COLOURS = ("red", "blue", "green", "black", "white", "golden")
TEXTS = [
    f"{colour} {thing}" for colour in COLOURS for thing in ("wool scarf", "tea kettle", "garden lamp", "oak shelf")
]


def weights(encoder: TextEncoder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in encoder.folder.rglob("*") if path.is_file()}


def test_the_same_catalog_gives_the_same_bytes_in_any_order() -> None:
    first = pretrain_encoder(TEXTS, TINY, max_tokens=16, seed=1)
    second = pretrain_encoder([*reversed(TEXTS), *TEXTS, ""], TINY, max_tokens=16, seed=1)
    other = pretrain_encoder(TEXTS, TINY, max_tokens=16, seed=2)
    assert weights(first) == weights(second)
    assert first.digest == second.digest != other.digest


def test_threads_change_nothing_and_are_given_back() -> None:
    threads = torch.get_num_threads()
    config = TINY.model_copy(update={"hidden_size": 128, "vocab_size": 2000})
    digests = set()
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            digests.add(pretrain_encoder(TEXTS, config, max_tokens=16, seed=1).digest)
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(threads)
    assert len(digests) == 1


def test_the_callers_random_state_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    pretrain_encoder(TEXTS, TINY, max_tokens=16, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")


def test_texts_that_share_words_are_near_and_vectors_spread() -> None:
    config = TINY.model_copy(update={"pretrain_steps": 120})
    vectors = pretrain_encoder(TEXTS, config, max_tokens=16, seed=0).encode(TEXTS)
    cosines = vectors @ vectors.T
    things = np.arange(len(TEXTS)) % 4
    same = (things[:, None] == things[None]) & ~np.eye(len(TEXTS), dtype=bool)
    different = things[:, None] != things[None]
    assert cosines[same].mean() > cosines[different].mean() + 0.2
    assert abs(cosines[different].mean()) < 0.3, "without the dense layer all texts point the same way"


def test_save_and_load_again(tmp_path: Path) -> None:
    encoder = pretrain_encoder(TEXTS, TINY, max_tokens=16, seed=0)
    encoder.save(tmp_path / "saved")
    again = TextEncoder.load(str(tmp_path / "saved"), max_tokens=16)
    assert (again.digest, again.pooling, again.dim) == (encoder.digest, "mean", 32)
    assert len(again.dense) == 1
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_the_temporary_folder_goes_with_the_encoder() -> None:
    encoder = pretrain_encoder(TEXTS[:2], TINY, max_tokens=16, seed=0)
    folder = encoder.folder
    assert folder.is_dir()
    del encoder
    assert not folder.exists()


@pytest.mark.parametrize(
    "texts",
    [
        ["one"],
        ["one"] * 40,
        ["", "  ", "one", ""],
        ["日本の茶碗", "Чайник", "إبريق الشاي", "🍵🫖", "İstanbul", "ﬁne ½", "[MASK] [PAD]", "x" * 3000],
    ],
)
@pytest.mark.parametrize("steps", [0, 2])
def test_odd_catalogs(texts: list[str], steps: int) -> None:
    config = TINY.model_copy(update={"pretrain_steps": steps})
    encoder = pretrain_encoder(texts, config, max_tokens=8, seed=0)
    vectors = encoder.encode([*texts, "", "never seen ☃"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("texts", [[], ["", " \n"]])
def test_without_any_text_nothing_is_trained(texts: list[str]) -> None:
    encoder = pretrain_encoder(texts, TINY, max_tokens=16, seed=0)
    untrained = pretrain_encoder(texts, TINY.model_copy(update={"pretrain_steps": 0}), max_tokens=16, seed=0)
    assert encoder.digest == untrained.digest
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(["", "new"]), axis=1), 1.0, atol=1e-5)


def test_the_tokenizer_drops_case_and_width_and_loses_nothing_else() -> None:
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    assert tokenizer("Red Wool")["input_ids"] == tokenizer("ｒｅｄ wool")["input_ids"]
    ids = tokenizer("日本 🍵 scarf")["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "日本 🍵 scarf"


def test_a_part_of_a_text_keeps_half_of_its_own_tokens_and_at_least_one() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = [[2, 7, 3], [2, 3], *([2, *range(10, 110), 3] for _ in range(50))]
    for _ in range(20):
        ids, attention = some_tokens(tokens, (2, 3), 0, generator)
        parts = [row[mask == 1].tolist() for row, mask in zip(ids, attention, strict=True)]
        assert parts[:2] == tokens[:2]
        assert not ids[attention == 0].any()
        for part in parts[2:]:
            assert (part[0], part[-1]) == (2, 3)
            assert part[1:-1] == sorted(set(part[1:-1]) & set(range(10, 110)))
        assert 0.47 < np.mean([len(part) - 2 for part in parts[2:]]) / 100 < 0.53


def test_the_loss_is_that_of_finding_ones_own_other_part() -> None:
    first = torch.eye(3)
    assert contrastive_loss(first, first).item() == pytest.approx(np.log1p(2 * np.exp(-10)), rel=1e-3)
    assert contrastive_loss(first, first.roll(1, 0)).item() == pytest.approx(10 + np.log1p(2 * np.exp(-10)), rel=1e-3)
    assert contrastive_loss(first[:1], first[1:2]).item() == 0, "a single text has nothing to be contrasted with"


def test_the_loss_stays_on_the_device_of_the_vectors() -> None:
    vectors = torch.zeros(3, 2, device="meta")  # stands for a GPU
    assert contrastive_loss(vectors, vectors).device.type == "meta"


def test_every_text_is_in_an_epoch_once() -> None:
    batches = endless_batches(95, 10, torch.Generator().manual_seed(0))
    epochs = [[next(batches) for _ in range(10)] for _ in range(2)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [10] * 9 + [5]
        assert sorted(row for batch in epoch for row in batch) == list(range(95))
    assert epochs[0] != epochs[1]
