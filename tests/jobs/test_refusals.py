"""A bad config and a missing input are refused before anything slow is imported, and nothing is written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: Libraries that take seconds to import or to start.
SLOW = ("ray", "torch", "transformers", "deepspeed", "sklearn", "joblib")
CODE = f"""
import sys
from jobs.{{job}} import main
code = main()
print(code, sorted(set({SLOW}) & set(sys.modules)))
"""


def refuse(job: str, config: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The JSON of a job that ends at once; then its exit code and the slow libraries that it imported."""
    command = [sys.executable, "-c", CODE.format(job=job), "--config", str(config), *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    answer, outcome = ended.stdout.strip().splitlines()[-2:]
    return json.loads(answer), outcome


@pytest.mark.parametrize("job", ["nightly", "finetune", "evaluate"])
def test_nothing_slow_is_imported_for_a_refusal(job, write_config, tmp_path):
    answer, outcome = refuse(job, write_config(), "--set", "recommend.topk=5")
    assert answer["error"] == "recommend.topk: unknown key; did you mean top_k?"
    assert outcome == "2 []"

    events = tmp_path / "nowhere"
    answer, outcome = refuse(job, write_config(), "--set", f"inputs.events.path={events}")
    assert str(events) in answer["error"]
    assert outcome == "3 []"
    assert not (tmp_path / "warehouse").exists()
