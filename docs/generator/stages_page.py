"""The stage table: what each stage of a night does, reads and writes."""

from markdown_table import in_blocks
from recsys.pipeline.stage_table import stage_rows

from jobs.nightly import NIGHT

INTRO = """\
# Stages of a night

A night runs these stages in this order. Each stage runs once: its record is stored in `runs/<run_id>/stages/`, and a
second start of the same night skips it. `python jobs/nightly.py --config configs/demo.yaml --dry-run` prints the stages
of your config with their workers.

Paths are below the storage. Entries such as `inputs.events` are keys of the config.

"""


def page() -> str:
    """Markdown: one table of all stages."""
    return INTRO + in_blocks("\n".join(stage_rows(NIGHT)) + "\n", "blocks stages")
