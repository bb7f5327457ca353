"""The live service: lists for new users, new events and searches, with the models of the published run.

python jobs/serve.py --config configs/demo.yaml
"""

import logging
import signal
import sys
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import command
from recsys.errors import ConfigError
from recsys.serving.auth import new_key
from recsys.settings import Config, load_config

if TYPE_CHECKING:
    from ray import serve

logger = logging.getLogger("jobs")


def app(arguments: dict[str, Any]) -> "serve.Application":
    """For `serve run jobs.serve:app config=configs/demo.yaml`, and for `serve deploy` with `deploy_file`'s file."""
    from jobs.start_service import application

    overrides = arguments.get("set", ())  # one text on the command line of `serve run`
    return application(load_config(arguments["config"], [overrides] if isinstance(overrides, str) else overrides))


def wait_for_signal() -> None:
    """Return at SIGINT (Ctrl-C) or SIGTERM (`docker stop`, systemd, Kubernetes)."""
    with suppress(KeyboardInterrupt):
        for number in (signal.SIGINT, signal.SIGTERM):
            # a script starts `serve.py &` with SIGINT ignored, and Ray's handler of SIGTERM drops requests in hand
            signal.signal(number, signal.default_int_handler)
        while True:
            time.sleep(3600)


def run(config: Config, options: Namespace) -> command.Answer:
    """Serve until interrupted."""
    if options.new_key is not None:
        key, entry = new_key(options.new_key)
        sys.stderr.write(f"the key, shown only once: {key}\nthe line for serve.keys_file: {entry}\n")
        return {"status": "made"}
    from jobs import start_service  # not above, since PyTorch and Ray are slow to import, and a key needs none

    if options.deploy_file is not None:
        text = start_service.deploy_file(config, options.config, options.set)
        try:
            Path(options.deploy_file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--deploy-file {options.deploy_file}: cannot be written: {error}") from error
        return {"status": "written", "path": options.deploy_file}
    address = start_service.start(config)
    logger.info("the service is at %s (a page to try it; the API is at %s/docs); Ctrl-C stops it", address, address)
    wait_for_signal()
    start_service.stop()
    return {"status": "stopped"}


def main() -> int:
    """The command line."""
    parser = command.parser("Start the live service.", dated=False)
    parser.add_argument("--new-key", metavar="NAME", help="make a key for a caller, print it once, and exit")
    parser.add_argument("--deploy-file", metavar="PATH", help="write the YAML for `serve deploy`, and exit")
    return command.run(run, parser)


if __name__ == "__main__":
    command.end_process(main)
