from typing import Any

import pytest
import torch

from recsys.model.config import EncoderConfig
from recsys.model.precision import dtype_of, multiplies_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True}, torch.float32),
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_auto_is_what_the_processor_is_fast_at(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16(CPU) == (expected is torch.bfloat16)
    assert dtype_of("auto", CPU) is expected
    assert dtype_of("fp32", CPU) is torch.float32
    assert dtype_of("bf16", CPU) is torch.bfloat16


def test_auto_leaves_an_encoder_from_scratch_alone() -> None:
    assert EncoderConfig(model=None).arithmetic == "fp32"
    assert EncoderConfig(model=None, precision="bf16").arithmetic == "bf16"
    assert EncoderConfig(model="sentence-transformers/all-MiniLM-L6-v2").arithmetic == "auto"
