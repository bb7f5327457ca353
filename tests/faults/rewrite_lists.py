"""Writes the lists of a finished night again, with a plugin that fails for some users: a process, as the plugin stays.

python -m tests.faults.rewrite_lists STORAGE RUN_ID RULES [KEY=VALUE …]
"""

import json
import logging
import sys
from dataclasses import asdict, replace

from recsys.errors import RecsysError
from recsys.pipeline.lists.write_lists import recommend
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.stages import WRITE_LISTS
from recsys.pipeline.workers.cluster import cluster
from recsys.settings import decode_config
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder

if __name__ == "__main__":
    storage, run_id, rules, *settings = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    run = stored_run(RunFolder(Storage(storage), run_id))
    raw = run.config.model_dump(mode="json") | {"storage": storage, "plugins": ["tests.plugins.fails_for"]}
    raw["rerank"]["rules"] = {"fails_for": json.loads(rules)}
    raw["recommend"] |= {key: int(value) for key, _, value in (setting.partition("=") for setting in settings)}
    run = replace(run, config=decode_config(raw))
    run.storage.delete_folder(f"{run.folder.stages_dir}/{WRITE_LISTS.name}")
    with cluster(1):
        try:
            answer = asdict(recommend(run))
        except RecsysError as error:
            answer = {"error": str(error), "type": type(error).__name__}
    print(json.dumps(answer))  # noqa: T201
