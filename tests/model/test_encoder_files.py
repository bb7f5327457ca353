from pathlib import Path

import safetensors.torch

from recsys.model.encoder_files import encoder_digest
from recsys.model.text_encoder import TextEncoder


def test_digest_is_the_same_at_another_place_and_without_loading(decoder: Path, copy: Path) -> None:
    digest = encoder_digest(str(decoder))
    assert digest == encoder_digest(str(copy)) == TextEncoder.load(str(copy)).digest
    assert digest == encoder_digest(str(copy), pooling="last"), "auto is the pooling it stands for"
    assert len(digest) == 64


def test_digest_moves_with_all_that_moves_a_vector(copy: Path) -> None:
    seen = {
        encoder_digest(str(copy)),
        encoder_digest(str(copy), pooling="mean"),
        encoder_digest(str(copy), max_tokens=32),
        encoder_digest(str(copy), precision="bf16"),
        encoder_digest(str(copy), precision="auto"),
    }
    for name in ("config.json", "tokenizer.json"):
        (copy / name).write_text((copy / name).read_text() + "\n")
        seen.add(encoder_digest(str(copy)))
    weights = safetensors.torch.load_file(copy / "model.safetensors")
    weights["norm.weight"] += 1e-6
    safetensors.torch.save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    seen.add(encoder_digest(str(copy)))
    assert len(seen) == 8
