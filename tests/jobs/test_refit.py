"""The refit: its model knows the held-out days and makes the lists; the next night continues the model before it."""

import datetime as dt
import json
from pathlib import Path

from recsys.model.checkpoint import read_card
from tests.conftest import END
from tests.jobs.conftest import RunJob, WriteConfig


def test_lists_come_from_the_refit_and_the_next_night_starts_from_what_the_gate_saw(
    write_config: WriteConfig, run_job: RunJob, tmp_path: Path
) -> None:
    config = write_config(train={"refit": True, "epochs": 2})
    day_before = (END - dt.timedelta(days=1)).isoformat()
    code, first = run_job("nightly", "--config", config, "--date", day_before)
    assert code == 0
    models = tmp_path / "warehouse/models"
    judged = first["model_id"].removesuffix("-refit")
    assert first["model_id"] == f"{judged}-refit"
    card, base = read_card(models / first["model_id"]), read_card(models / judged)
    assert (card.base, base.base) == (judged, None)
    assert base.trained_until < card.trained_until == f"{END.isoformat()}T00:00:00+00:00"
    fusions = [json.loads((models / name / "fusion.json").read_text()) for name in (first["model_id"], judged)]
    assert fusions[0] == fusions[1]
    weights = [(models / name / "ranker.safetensors").read_bytes() for name in (first["model_id"], judged)]
    assert weights[0] != weights[1]
    latest = json.loads((tmp_path / "warehouse/recommendations/LATEST.json").read_text())
    assert latest["model_id"] == first["model_id"]

    code, second = run_job("nightly", "--config", config)
    assert code == 0
    stages = json.loads(Path(second["metrics"].removeprefix("file://")).read_text())["stages"]
    assert stages["finetune"]["warm_start"] == judged
    assert stages["gate"]["compared_with"] == judged
    assert stages["refit"]["model_id"] == second["model_id"]
