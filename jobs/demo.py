"""The demo: makes a small synthetic shop, runs the night on it, and shows the lists of three users.

python jobs/demo.py

It writes below `demo/` of the working directory. A second start shows the finished night.
"""

import datetime as dt
import shutil
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs import command
from jobs.log_output import add_log_options, console
from jobs.nightly import nightly
from jobs.show import show
from jobs.user_ids import CommandLine
from recsys.data.synthetic.shop import Shop, make_shop, write_shop
from recsys.errors import ConfigError
from recsys.settings import load_config

FOLDER = Path("demo")
#: The config of the demo as the package has it. In a checkout it is a link to configs/demo.yaml.
_CONFIG = Path(__file__).with_name("demo.yaml")


def demo(options: Namespace) -> command.Answer:
    """Make the shop and the config where they are missing, then run the night and show lists."""
    path = FOLDER / "demo.yaml"
    if not path.exists():
        try:
            FOLDER.mkdir(exist_ok=True)
            shutil.copyfile(_CONFIG, path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error}; start the demo in a folder of your own") from error
    config = load_config(path, options.set)
    if not (FOLDER / "data" / "events").exists():
        shop = make_shop(num_users=2000, num_items=800, num_days=90, seed=9, end=dt.date(2026, 11, 22))
        write_data(shop, FOLDER / "data")
    answer = nightly(config, Namespace(dry_run=False, force=False))
    show(config)
    console.print(
        f"{path} is the config. Next: `recsys explain --config {path} u00007`, `recsys serve --config {path}`, and "
        f"`recsys init` for your own files",
        soft_wrap=True,
    )
    return answer


def write_data(shop: Shop, folder: Path) -> None:
    """Write the files of a shop. Its events appear last, all at once: after an interruption all is made again."""
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=folder) as made:
        write_shop(shop, made)
        for path in sorted(Path(made).iterdir(), key=lambda path: path.name == "events"):
            path.replace(folder / path.name)


def main() -> int:
    """The command line."""
    parser = CommandLine(description="Make a small synthetic shop, run the night on it, and show lists.")
    command.add_overrides(parser, "seed=1")
    add_log_options(parser)
    return command.run_without_config(demo, parser)


if __name__ == "__main__":
    command.end_process(main)
