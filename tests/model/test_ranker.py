"""The ranker: what a state may see, the parts of an item, and the decoders inside of it.

Shapes: B users, L history length, I items, D item dimensions.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from recsys.model.config import RankerConfig
from recsys.model.decoder import build_decoder, decoder_config
from recsys.model.features import NUM_GAP_BUCKETS
from recsys.model.ranker import ItemIds, Ranker
from recsys.model.ranker_spec import RankerSpec
from recsys.training.config import TrainConfig
from recsys.training.missing_ids import draw_missing_ids
from recsys.training.objective import Objective, TrainableRanker

NUM_ITEMS, TEXT_DIM, NUM_KINDS = 12, 6, 2
SMALL = RankerConfig(hidden_size=8, layers=2, heads=2, dropout=0.0, id_dropout=0.0)
SIZES: dict[str, Any] = {
    "vocab_size": 16,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
#: Saves, weights and configs of hub models as they come: most in bfloat16.
DECODERS = {
    "llama": (transformers.LlamaConfig(**SIZES), torch.float32),
    "llama-bf16": (transformers.LlamaConfig(**SIZES), torch.bfloat16),
    "qwen3": (transformers.Qwen3Config(**SIZES), torch.float32),
    "mistral": (transformers.MistralConfig(**SIZES, sliding_window=64), torch.float32),
}
Histories = tuple[Tensor, Tensor, Tensor]


def make_ranker(
    config: RankerConfig = SMALL, seed: int = 0, num_known: int = 9, num_items: int = NUM_ITEMS
) -> TrainableRanker:
    """A ranker in evaluation mode, whose last items are unknown; its text vectors do not depend on the seed."""
    texts = torch.randn(num_items, TEXT_DIM, generator=torch.Generator().manual_seed(99))
    spec = RankerSpec(
        num_items=num_items,
        text_dim=TEXT_DIM,
        item_dim=config.hidden_size,
        num_event_kinds=NUM_KINDS,
        decoder=decoder_config(config, 8),
        dropout=config.dropout,
        id_dropout=config.id_dropout,
        parts=config.parts,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        counts = (torch.arange(num_items) < num_known).long()
        ranker = TrainableRanker(
            spec, texts, counts, Objective.of(TrainConfig(), exclude_seen=True), build_decoder(config)
        )
        torch.nn.init.normal_(ranker.id_embedding.weight)  # else an id would hardly show beside a text
    return ranker.eval()


def draw(num_users: int, length: int, seed: int = 0, num_items: int = NUM_ITEMS) -> Histories:
    generator = torch.Generator().manual_seed(seed)
    tops = (num_items, NUM_GAP_BUCKETS, NUM_KINDS + 1)
    items, gaps, events = (torch.randint(0, top, (num_users, length), generator=generator) for top in tops)
    return items, gaps, events


def pad(histories: Histories, length: int, num_items: int = NUM_ITEMS) -> Histories:
    missing = (0, length - histories[0].shape[1])
    items, gaps, events = (
        torch.nn.functional.pad(grid, missing, value=padding)
        for grid, padding in zip(histories, (num_items, 0, 0), strict=True)
    )
    return items, gaps, events


def encode(ranker: Ranker, histories: Histories) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        users, items = ranker(*histories)
    return users, items


@pytest.fixture(params=sorted(DECODERS))
def hub_model(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A decoder with random weights, as `save_pretrained` leaves it in a folder."""
    return save(*DECODERS[request.param], tmp_path)


def save(config: Any, dtype: torch.dtype, folder: Path) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        transformers.AutoModel.from_config(config, dtype=dtype).save_pretrained(folder)
    return str(folder)


# --- what a state may see


@pytest.mark.parametrize("place", range(5))
def test_a_later_event_changes_no_earlier_state(place: int) -> None:
    ranker, histories = make_ranker(), draw(3, 5)
    changed = tuple(grid.clone() for grid in histories)
    for grid, top in zip(changed, (NUM_ITEMS, NUM_GAP_BUCKETS, NUM_KINDS + 1), strict=True):
        grid[:, place] = (grid[:, place] + 1) % top
    with torch.no_grad():
        vectors = ranker.item_vectors()
        before, after = (
            ranker.hidden_states(ranker.history_tokens(vectors, *histories), histories[1]),
            ranker.hidden_states(ranker.history_tokens(vectors, *changed), changed[1]),
        )
    torch.testing.assert_close(before[:, :place], after[:, :place], atol=1e-5, rtol=0)
    assert ((before[:, place:] - after[:, place:]).abs().amax(dim=2) > 1e-3).all()


@pytest.mark.parametrize("part", [0, 1, 2])
def test_items_gaps_and_kinds_each_count(part: int) -> None:
    ranker, histories = make_ranker(), draw(3, 5)
    for embedding in (ranker.gap_embedding, ranker.event_embedding):
        torch.nn.init.normal_(embedding.weight, generator=torch.Generator().manual_seed(1))
    changed = list(histories)
    changed[part] = (histories[part] + 1) % 3
    users = encode(ranker, histories)[0]
    other = encode(ranker, (changed[0], changed[1], changed[2]))[0]
    assert ((users - other).abs().amax(dim=1) > 1e-3).all()


def test_padding_does_not_show() -> None:
    ranker = make_ranker()
    users = [draw(1, length, seed=length) for length in (1, 3, 7)]
    alone = torch.cat([encode(ranker, user)[0] for user in users])
    for width in (7, 8, 20):
        parts = zip(*(pad(user, width) for user in users), strict=True)
        items, gaps, events = (torch.cat(rows) for rows in parts)
        torch.testing.assert_close(encode(ranker, (items, gaps, events))[0], alone, atol=1e-5, rtol=0)
        gaps, events = torch.where(items == NUM_ITEMS, 3, gaps), torch.where(items == NUM_ITEMS, 1, events)
        torch.testing.assert_close(encode(ranker, (items, gaps, events))[0], alone, atol=1e-5, rtol=0)


def test_user_vectors_are_the_states_of_the_last_event() -> None:
    ranker, histories = make_ranker(), pad(draw(4, 3), 6)
    with torch.no_grad():
        vectors = ranker.item_vectors()
        states = ranker.hidden_states(ranker.history_tokens(vectors, *histories), histories[1])
        users = ranker.user_vectors(vectors, *histories)
    torch.testing.assert_close(users, states[:, 2])
    torch.testing.assert_close(users.norm(dim=1), ranker.log_scale.exp().expand(4))
    torch.testing.assert_close(encode(ranker, histories), (users, vectors))


def test_a_user_without_known_items_has_a_vector() -> None:
    users, _ = encode(make_ranker(), pad(draw(2, 0), 4))
    assert users.isfinite().all()
    torch.testing.assert_close(users[0], users[1])


# --- the parts of an item


def test_an_unknown_item_lives_on_its_text_alone() -> None:
    ranker = make_ranker(num_known=9)
    before = ranker.item_vectors().detach()
    with torch.no_grad():
        ranker.id_embedding.weight += 1
    after = ranker.item_vectors().detach()
    assert torch.equal(before[9:], after[9:])
    assert ((before[:9] - after[:9]).abs().amax(dim=1) > 1e-3).all()
    torch.testing.assert_close(before.norm(dim=1), torch.ones(NUM_ITEMS))
    ranker.item_vectors().square().sum().backward()
    assert ranker.id_embedding.weight.grad is not None
    assert not ranker.id_embedding.weight.grad[9:].any()


def test_ids_are_dropped_in_training_only() -> None:
    ranker = make_ranker(SMALL.model_copy(update={"id_dropout": 0.5}), num_known=390, num_items=400)
    whole = ranker.item_vectors().detach()
    assert torch.equal(whole, ranker.item_vectors().detach())
    gate = ranker.gate.detach().clone()
    ranker.gate.data.zero_()
    text_only = ranker.item_vectors().detach()
    ranker.gate.data.copy_(gate)
    torch.manual_seed(0)
    trained = ranker.train().item_vectors().detach()
    dropped = (trained - text_only).abs().amax(dim=1) < 1e-6
    kept = (trained - whole).abs().amax(dim=1) < 1e-6
    assert (dropped | kept).all()
    assert dropped[390:].all()
    assert 0.4 < dropped[:390].float().mean() < 0.6


def test_an_item_without_text_lives_on_its_id_alone() -> None:
    """Also in training, where other ids are dropped. Without an id too, it has no direction and a bounded gradient."""
    ranker = make_ranker(SMALL.model_copy(update={"id_dropout": 1.0}), num_known=9)
    without = torch.tensor([2, 10])
    ranker.text_vectors[without] = 0
    ranker.text_adapter.fit(ranker.text_vectors)
    rest = torch.ones(NUM_ITEMS).bool().index_fill(0, without, False)
    torch.testing.assert_close(ranker.text_adapter.mean, ranker.text_vectors[rest].mean(dim=0))
    for each in (ranker, ranker.train()):
        vectors = each.item_vectors()
        own = torch.nn.functional.normalize(ranker.gate * ranker.id_embedding.weight[2], dim=0)
        torch.testing.assert_close(vectors[2], own)
        assert not vectors[10].any()
    vectors.sum().backward()
    assert all(each.grad is None or each.grad.abs().max() < 1e4 for each in ranker.parameters())


def test_ids_are_drawn_where_an_item_would_begin_with_nothing() -> None:
    ranker = make_ranker()
    ranker.text_vectors[[2, 3]] = 0
    with torch.no_grad():
        ranker.id_embedding.weight[[3, 4]] = 0
    before = ranker.id_embedding.weight.detach().clone()
    draw_missing_ids(ranker)
    changed = (ranker.id_embedding.weight != before).any(dim=1)
    assert changed.nonzero().tolist() == [[3]]


def test_ids_alone_are_not_dropped() -> None:
    ranker = make_ranker(SMALL.model_copy(update={"id_dropout": 0.5, "parts": "ids"}))
    whole = ranker.item_vectors().detach()
    assert torch.equal(ranker.train().item_vectors().detach(), whole)


def test_imputed_ids_are_used_without_a_change_of_the_ranker() -> None:
    """Vectors of given ids are those of a ranker that stores these ids; the ranker that computed them is as before."""
    ranker, other = make_ranker(num_known=9), make_ranker(num_known=11)
    embedding = ranker.ids.embedding.clone()
    embedding[9:11] = embedding[:9].mean(dim=0)
    known = torch.arange(NUM_ITEMS) < 11
    with torch.no_grad():
        other.id_embedding.weight.copy_(embedding)
        own = ranker.item_vectors()
        imputed = ranker.item_vectors(ids=ItemIds(embedding=embedding, known=known))
        some = ranker.item_vectors(torch.tensor([10, 3]), ids=ItemIds(embedding=embedding, known=known))
        assert torch.equal(imputed, other.item_vectors())
        assert torch.equal(some, other.item_vectors(torch.tensor([10, 3])))
        assert torch.equal(ranker.item_vectors(), own)
        assert torch.equal(ranker.item_vectors(ids=ranker.ids), own)
    changed = (imputed - own).abs().amax(dim=1) > 1e-3
    assert changed.tolist() == [False] * 9 + [True] * 2 + [False]


# --- decoders of the hub


def test_decoders_of_the_hub_work(hub_model: str) -> None:
    """Hidden size 16 and item size 8: the projections lie between. A pretrained decoder keeps its weights."""
    config = SMALL.model_copy(update={"model": hub_model})
    ranker, histories = make_ranker(config), draw(3, 5)
    assert {parameter.dtype for parameter in ranker.parameters()} == {torch.float32}
    users, items = encode(ranker, histories)
    assert users.shape == (3, 8)
    assert items.shape == (NUM_ITEMS, 8)
    saved = transformers.AutoModel.from_pretrained(hub_model, dtype=torch.float32).state_dict()
    own = ranker.decoder.state_dict()
    assert {name for name in saved if "embed_tokens" not in name} == set(own)
    assert all(torch.equal(saved[name], own[name]) for name in own)
    assert not any(tensor.shape[0] == SIZES["vocab_size"] for name, tensor in own.items() if "embed" in name)
    changed = histories[0].clone()
    changed[:, 3] = (changed[:, 3] + 1) % NUM_ITEMS
    with torch.no_grad():
        before = ranker.hidden_states(ranker.history_tokens(items, *histories), histories[1])
        after = ranker.hidden_states(ranker.history_tokens(items, changed, *histories[1:]), histories[1])
    torch.testing.assert_close(before[:, :3], after[:, :3], atol=1e-5, rtol=0)
    ranker.train()(*histories, targets=histories[0]).backward()
    candidates_only = {"candidate_embedding", "candidate_head.weight"}
    assert {name for name, parameter in ranker.named_parameters() if parameter.grad is None} == candidates_only


def test_what_was_pretrained_is_built_again_from_its_card(hub_model: str) -> None:
    """Scoring has the spec and the weights, not the hub's files; whatever their precision, arithmetic is the same."""
    trained = make_ranker(SMALL.model_copy(update={"model": hub_model}))
    again = Ranker(trained.spec, trained.text_vectors, trained.known).eval()
    again.load_state_dict(trained.state_dict())
    histories = draw(3, 5)
    assert all(torch.equal(*pair) for pair in zip(encode(trained, histories), encode(again, histories), strict=True))


def test_the_small_decoder_has_the_configured_sizes() -> None:
    ranker = make_ranker(SMALL.model_copy(update={"layers": 3}))
    assert build_decoder(SMALL) is None
    assert ranker.decoder.config.num_hidden_layers == len(list(ranker.decoder.get_submodule("layers").children())) == 3
    assert isinstance(ranker.to_decoder, torch.nn.Identity)
    assert isinstance(ranker.from_decoder, torch.nn.Identity)


# --- adapters and warm starts


def test_adapters_train_alone_and_merge_into_a_plain_ranker(hub_model: str) -> None:
    config = SMALL.model_copy(update={"model": hub_model})
    ranker, histories = make_ranker(config), draw(3, 5)
    frozen = {name: tensor.clone() for name, tensor in ranker.decoder.state_dict().items()}
    before = encode(ranker, histories)[0]
    ranker.add_lora(2)
    torch.testing.assert_close(encode(ranker.eval(), histories)[0], before)  # adapters begin as nothing
    trainable = {name for name, parameter in ranker.decoder.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all(".lora_" in name for name in trainable)
    adapters = len([name for name in trainable if "lora_A" in name])
    assert adapters == len([name for name in frozen if name.endswith("proj.weight")])
    optimizer = torch.optim.AdamW([p for p in ranker.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        ranker.train()(*histories, targets=histories[0]).backward()
        optimizer.step()

    weights = ranker.whole_weights()
    changed = encode(ranker.eval(), histories)
    assert (changed[0] - before).abs().max() > 0.1
    plain = Ranker(ranker.spec, ranker.text_vectors, ranker.known).eval()
    plain.load_state_dict(weights)
    for ours, theirs in zip(encode(plain, histories), changed, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    projections = [name for name in frozen if name.endswith("proj.weight")]
    assert all(not torch.equal(weights[f"decoder.{name}"], frozen[name]) for name in projections)
    base = {name.replace("base_model.model.", "").replace(".base_layer.", "."): tensor
            for name, tensor in ranker.decoder.state_dict().items() if ".lora_" not in name}  # fmt: skip
    assert all(torch.equal(base[name], frozen[name]) for name in frozen)


def test_whole_weights_are_a_copy() -> None:
    ranker = make_ranker()
    weights = ranker.whole_weights()
    assert set(weights) == set(ranker.state_dict())
    with torch.no_grad():
        ranker.gate += 1
    assert torch.equal(weights["gate"], torch.ones(8))


def test_a_warm_start_keeps_what_fits() -> None:
    old, histories = make_ranker(seed=1), draw(3, 5)
    same = make_ranker(seed=2)
    assert same.load_fitting(old.state_dict()) == []
    assert torch.equal(encode(same, histories)[0], encode(old, histories)[0])

    larger = make_ranker(SMALL.model_copy(update={"layers": 3}), seed=2, num_items=14)
    fresh = {name: tensor.clone() for name, tensor in larger.state_dict().items()}
    left_out = larger.load_fitting(old.state_dict() | {"stranger": torch.zeros(1)})
    assert "id_embedding.weight" in left_out
    assert all(name == "id_embedding.weight" or ".layers.2." in name for name in left_out)
    for name, tensor in larger.state_dict().items():
        assert torch.equal(tensor, fresh[name] if name in left_out else old.state_dict()[name])
