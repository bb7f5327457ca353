"""Learning from baskets: the loss, the draws of a step, what is measured, and that an encoder learns."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.histories import sort_interactions
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.config import ScratchEncoderConfig
from recsys.model.text_encoder import TextEncoder
from recsys.schema import INTERACTIONS
from recsys.training.basket_encoder import BasketEncoder
from recsys.training.basket_examples import HELD_OUT_TARGETS, baskets_of, held_out_targets
from recsys.training.basket_loss import TEMPERATURE, left_out_item_loss
from recsys.training.basket_sampling import Baskets, draw_step
from recsys.training.basket_validation import HeldOutTargets, held_out_ndcg
from recsys.training.config import TrainConfig
from recsys.training.engine_torch import TorchEngine
from recsys.training.phases import warmup_and_cosine
from recsys.training.pretrain import pretrain_encoder
from recsys.training.refresh import encode_rows

COLOURS, THINGS = ("red", "blue", "green", "black"), ("lamp", "vase", "desk", "rug", "bowl", "mug")
TEXTS = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
ITEMS = pa.array([f"i{number:02}" for number in range(len(TEXTS))])
#: Each user takes things of one colour, so that the first word counts and the second does not.
BASKETS = Baskets.of(
    np.repeat(np.arange(40), 3),
    np.array([6 * (user % 4) + (user + 2 * step) % 6 for user in range(40) for step in range(3)]),
)


def interactions(rows: list[tuple[str, str, int]]) -> pa.Table:
    table = [
        {"user_id": user, "item_id": item, "timestamp": 1_000_000 * at, "event": "view", "weight": 1.0}
        for user, item, at in rows
    ]
    return sort_interactions(pa.Table.from_pylist(table, INTERACTIONS))[0]


def test_the_loss_is_small_where_items_of_a_basket_are_alike_and_others_are_not() -> None:
    baskets = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert left_out_item_loss(alike, baskets).item() == pytest.approx(0.0, abs=1e-6)
    assert left_out_item_loss(alike[[0, 2, 1, 3]], baskets).item() == pytest.approx(1 / TEMPERATURE, abs=1e-6)


def test_the_loss_is_that_of_each_item_by_hand() -> None:
    angle = torch.tensor([0.0, 0.1, 0.3, 0.25, 0.4])
    vectors = torch.cat([torch.stack([angle.cos(), angle.sin()], dim=1), torch.zeros(1, 2)])
    baskets = torch.tensor([[1.0, 1, 1, 0, 0, 1], [0, 1, 0, 1, 0, 0]])  # the last item has no text
    expected = []
    for basket in ([0, 1, 2], [1, 3]):
        for item in basket:
            mean = sum(vectors[other] for other in basket if other != item)
            rivals = [other for other in range(6) if other == item or other not in (basket + [5] * (0 in basket))]
            cosines = torch.stack([torch.cosine_similarity(mean, vectors[other], dim=0) for other in rivals])
            expected.append(-(cosines / TEMPERATURE).log_softmax(0)[rivals.index(item)])
    torch.testing.assert_close(left_out_item_loss(vectors, baskets), torch.stack(expected).mean())


def test_baskets_without_any_text_have_no_loss_and_a_gradient() -> None:
    vectors = torch.zeros(3, 2, requires_grad=True)
    loss = left_out_item_loss(vectors, torch.ones(1, 3))
    loss.backward()
    assert loss.item() == 0
    assert vectors.grad is not None
    assert not vectors.grad.any()


def test_baskets_have_distinct_items_and_two_of_them() -> None:
    made = Baskets.of(np.array([5, 5, 5, 7, 9, 9]), np.array([3, 1, 3, 2, 0, 4]))
    assert (made.offsets.tolist(), made.items.tolist()) == ([0, 2, 4], [1, 3, 0, 4])
    assert made.every(2, 1).items.tolist() == [0, 4]
    assert len(made.every(3, 2)) == 0


@given(st.integers(1, 50), st.integers(4, 40), st.integers(24, 200), st.integers(0, 100))
def test_a_step_has_its_number_of_items_and_whole_rows(users: int, items: int, catalog: int, seed: int) -> None:
    step = draw_step(BASKETS, users, items, catalog, np.random.default_rng(seed))
    assert len(step.rows) == min(items, catalog), "the same on all workers"
    assert (np.diff(step.rows) > 0).all()
    assert step.rows[0] >= 0
    assert step.rows[-1] < catalog
    assert 1 <= len(step.baskets) <= users
    assert (step.baskets.sum(axis=1) >= 2).all()
    own = [set(BASKETS.items[start:end]) for start, end in zip(BASKETS.offsets, BASKETS.offsets[1:], strict=False)]
    for row in step.baskets:
        assert any(set(step.rows[row > 0]) <= basket for basket in own)


def test_what_is_read_of_interactions() -> None:
    learned = interactions([("a", "i01", 1), ("a", "i03", 2), ("a", "i01", 3), ("a", "gone", 4), ("b", "i02", 1)])
    kept_out = interactions([("a", "i05", 9), ("a", "i06", 9), ("b", "i02", 9)])
    assert baskets_of(learned, ITEMS, 10).to_pylist() == [{"items": [1, 3]}]
    assert baskets_of(learned, ITEMS, 2).to_pylist() == [], "the newest two are i01 and an unknown item"
    found = held_out_targets(learned, kept_out, ITEMS, 10)
    assert found.schema == HELD_OUT_TARGETS
    assert found.to_pylist() == [{"history": [1, 3, 1], "target": 5}], "b took what it had"


def test_the_measure_ranks_the_next_item_among_all_others() -> None:
    vectors = np.eye(len(TEXTS), dtype=np.float32)
    vectors[7] = vectors[2] * 0.9 + vectors[7] * 0.4
    vectors[7] /= np.linalg.norm(vectors[7])
    table = pa.table({"history": [[2], [2, 9]], "target": [7, 4]}, schema=HELD_OUT_TARGETS)
    held_out = HeldOutTargets.of(table, len(TEXTS), seed=0)
    assert held_out.rows.tolist() == list(range(len(TEXTS)))
    near, far = held_out_ndcg(vectors, held_out)
    assert (near, far < 1) == (1, True)
    assert not len(held_out_ndcg(vectors, HeldOutTargets.of(HELD_OUT_TARGETS.empty_table(), len(TEXTS), 0)))


def test_an_encoder_learns_which_words_make_a_basket(tmp_path: Path) -> None:
    tiny = ScratchEncoderConfig(hidden_size=16, layers=1, heads=2, vocab_size=300, pretrain_steps=0)
    encoder = CatalogEncoder(pretrain_encoder(TEXTS, tiny, 8, seed=0), TEXTS, batch_size=10, lora_rank=None)
    model = BasketEncoder(encoder, "fp32")
    train = TrainConfig(batch_size=16, learning_rate=0.01, weight_decay=0.0)
    groups = [{"params": [each for each in model.parameters() if each.requires_grad]}]
    engine = TorchEngine(model, groups, train, warmup_and_cosine(2, 40))
    table = pa.table(
        {"history": [[6 * colour + 1, 6 * colour + 3] for colour in range(4)], "target": [5, 11, 17, 23]},
        schema=HELD_OUT_TARGETS,
    )
    held_out = HeldOutTargets.of(table, len(TEXTS), seed=0)
    before = held_out_ndcg(encode_rows(engine, encoder).numpy(), held_out).mean()
    random = np.random.default_rng(0)
    losses = []
    for _ in range(40):
        step = draw_step(BASKETS, 16, 20, len(TEXTS), random)
        loss = engine(rows=torch.from_numpy(step.rows), baskets=torch.from_numpy(step.baskets))
        engine.backward(loss)
        engine.step()
        losses.append(loss.item())
    vectors = encode_rows(engine, encoder)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert held_out_ndcg(vectors.numpy(), held_out).mean() > before + 0.1
    some = torch.tensor([20, 3, 7])
    torch.testing.assert_close(encode_rows(engine, encoder, some), vectors[some], atol=1e-5, rtol=0)
    encoder.save(tmp_path / "encoder")
    saved = TextEncoder.load(str(tmp_path / "encoder"), max_tokens=8)
    np.testing.assert_allclose(saved.encode(TEXTS), vectors.numpy(), atol=1e-5)
