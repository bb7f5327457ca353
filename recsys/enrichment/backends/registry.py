"""The back ends by name. A new back end is one file, and one line here or in a plugin."""

from typing import Any

from recsys.config.messages import validated
from recsys.config.section import Section
from recsys.enrichment.backends.backend import Backend
from recsys.enrichment.backends.keywords import KeywordsBackend
from recsys.enrichment.backends.local_model import LocalModelBackend
from recsys.enrichment.backends.openai_endpoint import OpenAIBackend
from recsys.enrichment.backends.vllm_engine import VllmBackend
from recsys.enrichment.checks import TEXT_CHECKS
from recsys.enrichment.config import EnrichConfig
from recsys.registry import Registry

BACKENDS: Registry[Backend[Any]] = Registry("back end")
BACKENDS.register(KeywordsBackend())
BACKENDS.register(LocalModelBackend())
BACKENDS.register(VllmBackend())
BACKENDS.register(OpenAIBackend())


def backend_settings(config: EnrichConfig) -> Section:
    """`enrich.settings` as the back end reads them.

    Raises:
        ValueError: a key is unknown, missing or out of range.
    """
    return validated(BACKENDS[config.backend].settings, config.settings, "enrich.settings")


def check_backend(config: EnrichConfig) -> None:
    """Check the names of the back end and of the checks, and the settings, before a night starts.

    Raises:
        ValueError: one of them is wrong.
    """
    for kind, name, known in (
        ("backend", config.backend, BACKENDS.names),
        *(("checks", name, TEXT_CHECKS.names) for name in config.checks),
    ):
        if name not in known:
            names = ", ".join(known) or "none"
            raise ValueError(
                f"enrich.{kind}: must be one of {names}, got {name!r}; a module in `plugins` may register more"
            )
    backend_settings(config)


def require_backend(config: EnrichConfig | None) -> None:
    """Refuse a night whose back end cannot work here, before it begins.

    Raises:
        ConfigError: a package or a key is missing.
    """
    if config is not None:
        BACKENDS[config.backend].check(backend_settings(config))
