"""The stored text vectors become what the encoder makes of the texts by now, and what its saved copy will."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.distributed as dist

from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.config import RankerConfig, ScratchEncoderConfig
from recsys.model.decoder import decoder_config
from recsys.model.ranker_spec import RankerSpec
from recsys.model.text_encoder import TextEncoder
from recsys.training.config import TrainConfig
from recsys.training.engine import parameter_groups
from recsys.training.engine_torch import TorchEngine
from recsys.training.objective import Objective, TrainableRanker
from recsys.training.pretrain import pretrain_encoder
from recsys.training.refresh import encode_rows, refresh_text_vectors
from tests.training.test_loop import constant_rate

TEXTS = [f"{colour} wool scarf{' with fringes' * number}" for number in range(5) for colour in ("red", "a very blue")]
TINY = ScratchEncoderConfig(hidden_size=16, layers=1, heads=2, vocab_size=300, pretrain_steps=0)
SMALL = RankerConfig(hidden_size=8, layers=1, heads=2, dropout=0.0, id_dropout=0.0)


@pytest.fixture
def one_worker(tmp_path: Path) -> Iterator[None]:
    """A process group of this process; `tests/pipeline/test_train.py` has larger ones."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def open_engine(ranker: TrainableRanker) -> TorchEngine:
    return TorchEngine(ranker, parameter_groups(ranker, 0.01, 0.01), TrainConfig(learning_rate=0.01), constant_rate)


@pytest.fixture(params=[None, 2], ids=["full", "lora"])
def ranker(request: pytest.FixtureRequest) -> TrainableRanker:
    """A ranker of which no text vector is stored yet."""
    spec = RankerSpec(
        num_items=len(TEXTS),
        text_dim=16,
        item_dim=8,
        num_event_kinds=1,
        decoder=decoder_config(SMALL, 8),
        dropout=0.0,
        id_dropout=0.0,
    )
    objective = Objective.of(TrainConfig(), exclude_seen=True)
    made = TrainableRanker(spec, torch.zeros(len(TEXTS), 16), torch.ones(len(TEXTS), dtype=torch.int64), objective)
    encoder = pretrain_encoder(TEXTS, TINY, 32, seed=0)
    made.add_encoder(CatalogEncoder(encoder, TEXTS, batch_size=4, lora_rank=request.param))
    return made


def test_after_a_refresh_the_stored_vectors_are_those_of_the_encoder_and_of_its_saved_copy(
    ranker: TrainableRanker, one_worker: None, tmp_path: Path
) -> None:
    engine = open_engine(ranker)
    refresh_text_vectors(engine, ranker)
    begun = ranker.text_vectors.clone()
    items = torch.tensor([[0, 1, 2], [3, 4, 5]])
    named = {"targets": torch.tensor([[1, 2, 3], [4, 5, 6]])}
    engine.train()
    for _ in range(5):
        engine.backward(engine(items, torch.ones_like(items), torch.ones_like(items), **named))
        engine.step()
    assert torch.equal(ranker.text_vectors, begun), "a step stores nothing"
    refresh_text_vectors(engine, ranker)
    assert (ranker.text_vectors - begun).abs().max() > 1e-3
    assert ranker.encoder is not None
    ranker.encoder.save(tmp_path / "encoder")
    again = TextEncoder.load(str(tmp_path / "encoder"), max_tokens=32).encode(TEXTS)
    np.testing.assert_allclose(ranker.text_vectors.numpy(), again, atol=1e-5)


def test_texts_of_users_are_encoded_again_too(ranker: TrainableRanker) -> None:
    """Without a process group, as the engine of plain PyTorch has none."""
    said = ["a scarf for my dog", "wool"]
    encoder = pretrain_encoder(TEXTS, TINY, 32, seed=0)
    ranker.add_encoder(CatalogEncoder(encoder, [*TEXTS, *said], batch_size=4, lora_rank=None))
    vectors = torch.zeros(len(said), 16)
    refresh_text_vectors(open_engine(ranker), ranker, vectors)
    expected = encoder.encode([*TEXTS, *said])
    np.testing.assert_allclose(torch.cat([ranker.text_vectors, vectors]).numpy(), expected, atol=1e-5)


def test_a_frozen_encoder_is_not_read(ranker: TrainableRanker) -> None:
    ranker.encoder = None
    refresh_text_vectors(open_engine(ranker), ranker)
    assert not ranker.text_vectors.any()


def test_the_encoder_has_a_learning_rate_of_its_own(ranker: TrainableRanker) -> None:
    own, encoder = parameter_groups(ranker, 1e-3, 3e-5)
    assert encoder["lr"] == 3e-5
    assert "lr" not in own
    names = {id(parameter): name for name, parameter in ranker.named_parameters() if parameter.requires_grad}
    found = [[names.pop(id(parameter)) for parameter in group["params"]] for group in (own, encoder)]
    assert not names, "a parameter that is not trained"
    assert all(name.startswith("encoder.") for name in found[1])
    assert not any(name.startswith("encoder.") for name in found[0])
    ranker.encoder = None
    assert [id(each) for group in parameter_groups(ranker, 1e-3, 3e-5) for each in group["params"]] == [
        id(each) for each in ranker.parameters()
    ]


def test_rows_are_read_where_the_encoder_is() -> None:
    """The rows of a catalog are drawn on the CPU, and the encoder of a training may be on a GPU."""

    class Elsewhere:
        lengths, batch_size = torch.tensor([3, 1, 2, 5], device="meta"), 2
        found: ClassVar[list[torch.device]] = []

        def eval(self) -> None: ...

        def __call__(self, rows: torch.Tensor) -> torch.Tensor:
            self.found.append(rows.device)
            return torch.empty(len(rows), 3, device="meta")

    there = Elsewhere()
    encode_rows(there, there, torch.tensor([2, 0, 1]))  # type: ignore[arg-type]
    assert {device.type for device in there.found} == {"meta"}
