"""Which text encoder a run reads: settled at its first start, so that each later start and the live service agree."""

import logging
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import ConfigDict

from recsys.config.strict_json import STRICT
from recsys.errors import ConfigError
from recsys.model.config import AUTO
from recsys.model.onnx_packages import EXPORT_PACKAGES, require_packages
from recsys.pipeline.encoders.compressed_encoder import require_compressed
from recsys.pipeline.imports_ahead import imported
from recsys.pipeline.run import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SettledEncoder:
    """Values of `encoder.model` and `encoder.revision` without a choice left open.

    Of another shop's encoder, `revision` is the id of its model.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    model: str | None
    revision: str | None


def settle_encoder(run: Run) -> SettledEncoder:
    """What `encoder.model` is for this run: `auto` is looked up now, and another shop's encoder is copied now.

    Raises:
        ConfigError: the other shop has no such encoder, the own storage has no such compressed one, or the packages of
            the engine are missing.
        InputError: the other shop's encoder is damaged.
    """
    spec = run.config.encoder
    if spec.engine == "onnx":
        require_packages(EXPORT_PACKAGES)
    if spec.model is not None and spec.is_compressed:
        require_compressed(run.storage, spec.model)
        return SettledEncoder(model=spec.model, revision=None)
    if spec.is_transferred:
        # by name, as stages are: the processes that count import this file, and do without torch
        take = imported("recsys.pipeline.encoders.transfer_encoder").take_encoder
        return SettledEncoder(model=spec.model, revision=take(run.storage, spec))
    model, revision = spec.model, spec.revision
    if model == AUTO:
        from recsys.model.default_encoder import default_encoder  # the client of the hub comes with it

        model, revision = default_encoder()
        logger.info("encoder.model=auto: %s", model or "a small encoder from scratch")
    if model is None and spec.quantization == "int8_weights":
        raise ConfigError(
            "encoder.quantization=int8_weights is for large pretrained models, not for a small one from scratch: set "
            "it to none"
        )
    if model is None and spec.is_adapted:
        raise ConfigError(
            f"encoder.adapt.steps={spec.adapt.steps} is for a pretrained encoder, not for a small one from scratch, "
            f"which learns these texts anyway: set it to 0"
        )
    return SettledEncoder(model=model, revision=revision)


def with_encoder(run: Run, settled: SettledEncoder | None) -> Run:
    """The run with this encoder in its config; None: an older version began the run; its config counts."""
    if settled is None:
        return run
    encoder = run.config.encoder.model_copy(update={"model": settled.model, "revision": settled.revision})
    return replace(run, config=run.config.model_copy(update={"encoder": encoder}))
