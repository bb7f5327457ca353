"""A student learns the vectors of its teacher, and is nearer to it than the same layers that did not learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.config import ScratchEncoderConfig
from recsys.model.prune_encoder import write_pruned
from recsys.model.text_encoder import TextEncoder
from recsys.training.choose_layers import choose_layers
from recsys.training.config import TrainConfig
from recsys.training.distill import Student, agreement, distillation_loss, fitted_dense, like_searches
from recsys.training.engine_torch import TorchEngine
from recsys.training.phases import warmup_and_cosine
from recsys.training.pretrain import pretrain_encoder

COLOURS = ("red", "blue", "green", "black", "white", "yellow")
THINGS = ("lamp", "vase", "desk", "rug", "bowl", "mug", "chair", "shelf", "clock", "frame")
KINDS = ("of oak", "for children", "with a lid")
TEXTS = [f"{colour} {thing} {kind}" for colour in COLOURS for thing in THINGS for kind in KINDS]
HELD_OUT = np.arange(len(TEXTS)) % 5 == 0
STEPS = 60


@pytest.fixture(scope="module")
def teacher() -> TextEncoder:
    """An encoder of three layers that has learned from the texts."""
    config = ScratchEncoderConfig(
        hidden_size=32, layers=3, heads=2, vocab_size=400, pretrain_steps=20, pretrain_batch_size=32
    )
    return pretrain_encoder(TEXTS, config, max_tokens=16, seed=0)


def learned(start: TextEncoder, vectors: np.ndarray) -> CatalogEncoder:
    """The student after some steps on the texts that are not held out."""
    encoder = CatalogEncoder(start, TEXTS, 64, None)
    train = TrainConfig(learning_rate=2e-3, batch_size=64, precision="fp32")
    student = Student(encoder, train.precision)
    engine = TorchEngine(student, [{"params": list(student.parameters())}], train, warmup_and_cosine(3, STEPS))
    rows, random = np.flatnonzero(~HELD_OUT), np.random.default_rng(0)
    for _ in range(STEPS):
        drawn = torch.from_numpy(random.choice(rows, 32))
        engine.backward(engine(rows=drawn, teacher=torch.from_numpy(vectors)[drawn]))
        engine.step()
    return encoder


def held_out_vectors(encoder: CatalogEncoder) -> np.ndarray:
    with torch.inference_mode():
        return encoder(torch.from_numpy(np.flatnonzero(HELD_OUT)), 1).numpy()


def test_a_student_beats_the_same_layers_that_did_not_learn(teacher: TextEncoder, tmp_path: Path) -> None:
    vectors = teacher.encode(TEXTS)
    held_out = [text for text, out in zip(TEXTS, HELD_OUT, strict=True) if out]
    kept = choose_layers(teacher, held_out, vectors[HELD_OUT], 1)
    assert len(kept) == 1
    write_pruned(teacher, tmp_path / "start", layers=kept, texts=TEXTS)
    start = TextEncoder.load(str(tmp_path / "start"), max_tokens=16)
    before = start.encode(held_out)
    encoder = learned(start, vectors)
    after = held_out_vectors(encoder)
    assert 1 - agreement(after, vectors[HELD_OUT]) < (1 - agreement(before, vectors[HELD_OUT])) / 3
    assert (after * vectors[HELD_OUT]).sum(axis=1).mean() > (before * vectors[HELD_OUT]).sum(axis=1).mean()
    encoder.save(tmp_path / "student")
    again = TextEncoder.load(str(tmp_path / "student"), max_tokens=16)
    np.testing.assert_allclose(again.encode(held_out), after, atol=1e-5)


def test_a_teacher_may_have_wider_vectors(teacher: TextEncoder, tmp_path: Path) -> None:
    config = ScratchEncoderConfig(hidden_size=16, layers=1, heads=2, vocab_size=400, pretrain_steps=0)
    small, vectors = pretrain_encoder(TEXTS, config, max_tokens=16, seed=1), teacher.encode(TEXTS)
    dense = fitted_dense(small.encode(TEXTS)[~HELD_OUT], vectors[~HELD_OUT])
    write_pruned(small, tmp_path / "start", layers=[0], dense=dense)
    start = TextEncoder.load(str(tmp_path / "start"), max_tokens=16)
    assert start.dim == teacher.dim == 32
    before = start.encode([text for text, out in zip(TEXTS, HELD_OUT, strict=True) if out])
    after = held_out_vectors(learned(start, vectors))
    assert agreement(after, vectors[HELD_OUT]) > agreement(before, vectors[HELD_OUT])


def test_layers_that_change_least_are_kept(teacher: TextEncoder) -> None:
    vectors = teacher.encode(TEXTS)
    assert choose_layers(teacher, TEXTS, vectors, 3) == [0, 1, 2]
    assert choose_layers(teacher, TEXTS, teacher.encode(TEXTS), 2) in ([0, 1], [0, 2], [1, 2])
    np.testing.assert_array_equal(teacher.encode(TEXTS), vectors), "the encoder is as it was"


def test_the_loss_is_zero_where_nothing_is_left_to_learn() -> None:
    vectors = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    assert distillation_loss(vectors, vectors).item() == pytest.approx(0.0, abs=1e-6)
    turned = F.normalize(vectors @ torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])), dim=1)
    # a mirrored copy has all cosines between texts; only the distance to the teacher's vectors is left
    assert distillation_loss(turned, vectors).item() == pytest.approx(1 - (turned * vectors).sum(1).mean().item())


def test_agreement_looks_at_similarities_alone() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50, 8)).astype(np.float32)
    turn = np.linalg.qr(random.normal(size=(8, 8)))[0].astype(np.float32)
    assert agreement(vectors, vectors @ turn + 3) == pytest.approx(1.0, abs=1e-5)
    assert abs(agreement(vectors, random.normal(size=(50, 5)).astype(np.float32))) < 0.1
    assert agreement(np.ones((5, 3), np.float32), vectors[:5]) == 0.0, "all texts are the same to it"


def test_parts_of_texts_are_short() -> None:
    texts = ["one", "", "a b c d e f g h i j k l m n o p"]
    parts = like_searches(texts, seed=3)
    assert parts == like_searches(texts, seed=3)
    assert parts[:2] == ["one", ""]
    assert parts[2] in texts[2]
    assert 1 <= len(parts[2].split()) <= 8
