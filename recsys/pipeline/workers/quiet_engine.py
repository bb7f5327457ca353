"""Lines of Ray, Ray Data and Ray Train that users cannot act on are switched off where they come from."""

import logging

from recsys.pipeline.workers.worker_logs import OURS

#: Their progress lines, and below them notes on their own defaults.
_QUIET = {
    "ray.data": logging.WARNING,
    "ray.train": logging.WARNING,
    # "Token authentication is enabled": a default of Ray that is as it should be
    "ray._private.authentication.authentication_token_setup": logging.ERROR,
}


def shows_engine() -> bool:
    """Whether the lines of the engine, and what workers print, are shown: where our own details are shown too."""
    return logging.getLogger(OURS).isEnabledFor(logging.DEBUG)


def quiet_engine() -> None:
    """Hide these lines, unless details are shown. Further warnings and errors stay."""
    by_file = [name for name in logging.root.manager.loggerDict if "/ray/train/" in name]  # Ray Train's own naming
    for name, level in (_QUIET | dict.fromkeys(by_file, logging.WARNING)).items():
        logging.getLogger(name).setLevel(logging.NOTSET if shows_engine() else level)
