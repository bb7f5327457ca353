"""Rankers on disk: what comes back, over a catalog that moved on, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.errors import InputError
from recsys.model.checkpoint import (
    ID_EMBEDDING,
    MODEL_FILES,
    ModelCard,
    load_ranker,
    load_weights,
    read_card,
    remap_items,
    save_ranker,
)
from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.file_hashes import HASHES_FILE
from recsys.model.ranker import Ranker
from recsys.model.ranker_spec import RankerSpec

IDS = [f"i{number}" for number in range(8)]
TEXT_DIM = 5
ADAPTER_BUFFERS = {"text_adapter.mean", "text_adapter.whitening"}
SMALL = RankerConfig(hidden_size=8, layers=1, heads=2, dropout=0.1, id_dropout=0.1)


def texts(ids: list[str]) -> Tensor:
    """A text vector of each id, the same in every catalog."""
    rows = [torch.randn(TEXT_DIM, generator=torch.Generator().manual_seed(int(item[1:]))) for item in ids]
    return torch.stack(rows)


@pytest.fixture
def ranker() -> Ranker:
    spec = RankerSpec(
        num_items=len(IDS),
        text_dim=TEXT_DIM,
        item_dim=8,
        num_event_kinds=2,
        decoder=decoder_config(SMALL, 4),
        dropout=SMALL.dropout,
        id_dropout=SMALL.id_dropout,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Ranker(spec, texts(IDS), torch.tensor([True] * 6 + [False] * 2))
        torch.nn.init.normal_(made.id_embedding.weight)
    return made.eval()


@pytest.fixture
def card(ranker: Ranker) -> ModelCard:
    return ModelCard(
        model_id="ranker-2026-11-22-0123456789ab",
        base=None,
        encoder_id="e" * 64,
        trained_until="2026-11-22T00:00:00+00:00",
        max_length=4,
        event_kinds=["view", "buy"],
        spec=ranker.spec,
    )


@pytest.fixture
def folder(tmp_path: Path, ranker: Ranker, card: ModelCard) -> Path:
    save_ranker(tmp_path, ranker.whole_weights(), ranker.known, pa.array(IDS), card)
    return tmp_path


def vectors(ranker: Ranker, ids: list[str], history: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """The vector of a user with this history, and each item's."""
    items = torch.tensor([[ids.index(item) for item in history]])
    with torch.no_grad():
        users, rows = ranker(items, torch.ones_like(items), torch.ones_like(items))
    return users[0], dict(zip(ids, rows, strict=True))


def test_a_saved_ranker_comes_back_as_it_was(folder: Path, ranker: Ranker, card: ModelCard) -> None:
    loaded, found = load_ranker(folder, pa.array(IDS), texts(IDS))
    assert found == card == read_card(folder)
    assert not loaded.training
    before, after = vectors(ranker, IDS, ["i3", "i7", "i0"]), vectors(loaded, IDS, ["i3", "i7", "i0"])
    assert torch.equal(before[0], after[0])
    assert all(torch.equal(before[1][item], after[1][item]) for item in IDS)


def test_a_model_from_before_texts_were_whitened_is_served_as_it_was(folder: Path, ranker: Ranker) -> None:
    weights = load_file(folder / "ranker.safetensors")
    old = {name: tensor for name, tensor in weights.items() if name not in ADAPTER_BUFFERS}
    assert len(old) == len(weights) - 2
    save_file(old, folder / "ranker.safetensors")
    (folder / HASHES_FILE).unlink()
    loaded, _ = load_ranker(folder, pa.array(IDS), texts(IDS))
    before, after = vectors(ranker, IDS, ["i3", "i7", "i0"]), vectors(loaded, IDS, ["i3", "i7", "i0"])
    assert all(torch.equal(before[1][item], after[1][item]) for item in IDS)


def test_the_whitening_matrix_is_saved(folder: Path, ranker: Ranker, card: ModelCard) -> None:
    ranker.text_adapter.fit(texts(IDS))
    save_ranker(folder, ranker.whole_weights(), ranker.known, pa.array(IDS), card)
    loaded, _ = load_ranker(folder, pa.array(IDS), texts(IDS))
    assert torch.equal(loaded.text_adapter.whitening, ranker.text_adapter.whitening)
    assert torch.equal(loaded.text_adapter.mean, ranker.text_adapter.mean)


def test_the_files_are_plain(folder: Path) -> None:
    """No pickle: tensors, a table and JSON, and nothing else."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(MODEL_FILES)
    assert ID_EMBEDDING in load_file(folder / "ranker.safetensors")
    assert pq.read_table(folder / "vocabulary.parquet").to_pydict() == {
        "item_id": IDS,
        "known": [True] * 6 + [False] * 2,
    }
    assert json.loads((folder / "model.json").read_text())["event_kinds"] == ["view", "buy"]


def test_a_ranker_serves_a_catalog_that_moved_on(folder: Path, ranker: Ranker) -> None:
    """Items in another order, one of them gone, two of them new; who stayed keeps its vector."""
    ids = ["i7", "i9", "i5", "i0", "i3", "i1", "i8", "i4"]
    loaded, found = load_ranker(folder, pa.array(ids), texts(ids))
    assert found.spec.num_items == len(IDS)
    assert loaded.spec.num_items == len(ids)
    user, old_items = vectors(ranker, IDS, ["i3", "i7", "i0"])
    same_user, items = vectors(loaded, ids, ["i3", "i7", "i0"])
    torch.testing.assert_close(same_user, user, atol=1e-5, rtol=0)
    for item in ["i7", "i5", "i0", "i3", "i1", "i4"]:
        torch.testing.assert_close(items[item], old_items[item], atol=1e-5, rtol=0)
    assert dict(zip(ids, loaded.known.tolist(), strict=True)) == {item: item in IDS[:6] for item in ids}
    alone = torch.nn.functional.normalize(loaded.text_adapter(texts(["i8", "i9"])), dim=1).detach()
    torch.testing.assert_close(torch.stack([items["i8"], items["i9"]]), alone)


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.lists(st.sampled_from("abcdefghij"), unique=True))
def test_rows_follow_their_items(old: list[str], new: list[str]) -> None:
    embedding = torch.tensor([[float(ord(item)), 1.0] for item in old]).reshape(-1, 2)
    known = torch.tensor([item in "aceg" for item in old], dtype=torch.bool)
    rows, flags = remap_items(embedding, known.numpy(), pa.array(old, pa.string()), pa.array(new, pa.string()))
    assert rows.tolist() == [[float(ord(item)), 1.0] if item in old else [0.0, 0.0] for item in new]
    assert flags.tolist() == [item in old and item in "aceg" for item in new]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize("name", ["ranker.safetensors", "vocabulary.parquet", "model.json"])
@pytest.mark.parametrize(
    "damage",
    [Path.unlink, truncate, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\xff{}")],
    ids=["missing", "truncated", "empty", "other bytes"],
)
def test_a_missing_or_broken_file_is_named(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(folder / name)
    with pytest.raises(InputError) as refusal:
        load_ranker(folder, pa.array(IDS), texts(IDS))
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("name", ["ranker.safetensors", "vocabulary.parquet"])
def test_a_file_with_one_changed_bit_is_refused_before_it_is_read(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} is not the file that was written: its sha256 is"):
        load_ranker(folder, pa.array(IDS), texts(IDS))


def test_a_model_of_an_older_version_has_no_hashes(folder: Path) -> None:
    (folder / HASHES_FILE).unlink()
    load_ranker(folder, pa.array(IDS), texts(IDS))
    for damaged in ("[]", "{"):
        (folder / HASHES_FILE).write_text(damaged)
        with pytest.raises(InputError, match=r"hashes\.json is not the file that was written"):
            load_ranker(folder, pa.array(IDS), texts(IDS))


def rewrite_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | changes))


def rewrite_weights(folder: Path, drop: str) -> None:
    weights = load_file(folder / "ranker.safetensors")
    del weights[drop]
    save_file(weights, folder / "ranker.safetensors")
    (folder / HASHES_FILE).unlink()


def rewrite_vocabulary(folder: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), folder / "vocabulary.parquet")
    (folder / HASHES_FILE).unlink()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: rewrite_card(folder, spec={"num_items": 3}),
        lambda folder: (folder / "model.json").write_text("[]"),
        lambda folder: rewrite_weights(folder, "gate"),
        lambda folder: rewrite_weights(folder, ID_EMBEDDING),
        lambda folder: rewrite_vocabulary(folder, {"item_id": IDS}),
        lambda folder: rewrite_vocabulary(folder, {"item_id": IDS[1:], "known": [True] * 7}),
    ],
    ids=["half a spec", "no mapping", "no gate", "no ids", "no flags", "a row short"],
)
def test_files_that_do_not_fit_together_are_refused(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    with pytest.raises(InputError) as refusal:
        load_ranker(folder, pa.array(IDS), texts(IDS))
    assert str(folder) in str(refusal.value)


def test_weights_alone_come_in_the_order_of_the_catalog(folder: Path, ranker: Ranker) -> None:
    weights, known = load_weights(folder, pa.array(["i9", "i7", "i2"]))
    assert torch.equal(weights[ID_EMBEDDING][1:], ranker.id_embedding.weight.detach()[[7, 2]])
    assert known.tolist() == [False, False, True]
    assert set(weights) == set(ranker.state_dict())
