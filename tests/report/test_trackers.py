"""Nights in TensorBoard files, in MLflow's file store and in offline files of Weights & Biases."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from recsys.report.trackers.config import MlflowConfig, WandbConfig
from recsys.report.trackers.mlflow import MlflowTracker
from recsys.report.trackers.tensorboard import TensorboardFiles
from recsys.report.trackers.tracker import TrackedNight, flat
from recsys.report.trackers.wandb import WandbTracker

NIGHT = TrackedNight(
    run_id="2026-11-22-abc",
    model_id="ranker-2026-11-22-abc",
    report="/warehouse/runs/2026-11-22-abc/report.html",
    verdict="passed",
    settings={f"section.key_{number}": number for number in range(150)}
    | {"note": "<b>bold</b>", "weights.add to cart": 1, "weights.add to cart (web)": 2},
    curves={"finetune/loss": [(1, 4.0), (2, 3.0)], "finetune/validation_ndcg@10": [(1, 0.1), (2, 0.2)]},
    figures={"gate/ndcg@10": 0.25, "ingest/non_positive/re?//fund/": 3.0},
)


def test_settings_are_handed_out_without_passwords() -> None:
    settings = {"tracking": {"mlflow": {"uri": "https://me:p@ss@mlflow:5000"}}, "plugins": ["s3://key:secret@shop/x"]}
    assert flat(settings) == {"tracking.mlflow.uri": "https://mlflow:5000", "plugins": "s3://shop/x"}


def events_in(folder: Path) -> list[Event]:
    """The records of an event file: length, checksum, content, checksum."""
    (path,) = folder.iterdir()
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_tensorboard_files(tmp_path: Path) -> None:
    TensorboardFiles(tmp_path).log(NIGHT)
    values = [(value.tag, event.step, value) for event in events_in(tmp_path) for value in event.summary.value]
    scalars = {(tag, step): value.simple_value for tag, step, value in values if value.HasField("simple_value")}
    assert scalars[("finetune/loss", 2)] == 3.0
    assert scalars[("night/gate/ndcg_at_10", 0)] == 0.25
    texts = {tag: value.tensor.string_val[0].decode() for tag, _, value in values if not value.HasField("simple_value")}
    assert any("ranker-2026-11-22-abc" in text for text in texts.values())
    assert all(line.startswith("    ") for text in texts.values() for line in text.splitlines()), "all of it is code"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_file_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    uri = (tmp_path / "mlruns").as_uri()
    tracker = MlflowTracker(MlflowConfig(uri=uri, experiment="nights"))
    tracker.log(NIGHT)
    tracker.log(replace(NIGHT, verdict="overridden"))
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("nights").experiment_id])
    assert run.data.tags["gates"] == "overridden", "the second time replaced the first"
    assert run.data.tags["report"] == NIGHT.report
    assert run.data.tags["model_id"] == NIGHT.model_id
    assert len(run.data.params) == 153
    assert (run.data.params["weights.add_to_cart"], run.data.params["weights.add_to_cart__web_"]) == ("1", "2")
    assert run.data.metrics["ingest/non_positive/re_/fund"] == 3
    assert run.data.metrics["gate/ndcg_at_10"] == 0.25
    curve = client.get_metric_history(run.info.run_id, "finetune/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 4.0), (2, 3.0)]
    assert run.info.status == "FINISHED"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    WandbTracker(WandbConfig(project="nights", offline=True, folder=str(tmp_path))).log(NIGHT)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    stored = file.read_bytes()
    for text in (b"finetune/loss", b"section.key_149", b"gate/ndcg@10", b"ranker-2026-11-22-abc", b"report.html"):
        assert text in stored
