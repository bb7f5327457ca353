"""Made-up nights in a storage: every kind of file that a night leaves, with tiny contents that nobody can load."""

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsys.storage.latest import LATEST

FIRST = dt.date(2026, 11, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MadeUpNight:
    """What a night is like."""

    day: int
    """Days after `FIRST`."""
    name: str = "0123456789ab"
    published: bool = True
    moment: float | None = None
    """Days after `FIRST` at which it was published or begun; None: in the night after its date."""
    warm: str = ""
    """Run whose model its training continued."""
    arm: str = ""
    """Run whose model an arm of its experiments uses."""
    encoder: int = 0
    """Number of the text encoder that was trained with its model; 0: the encoder that all nights share."""

    @property
    def run_id(self) -> str:
        """Its id."""
        return f"{(FIRST + dt.timedelta(days=self.day)).isoformat()}-{self.name}"

    @property
    def at(self) -> dt.datetime:
        """When it was published or begun."""
        return moment(self.day + 1.1 if self.moment is None else self.moment)

    @property
    def encoders(self) -> set[str]:
        """Digests of the encoders whose vectors it reads."""
        return {digest(0), digest(self.encoder)}


def moment(days: float) -> dt.datetime:
    """So many days after the begin of the first night's date."""
    return dt.datetime.combine(FIRST, dt.time(), tzinfo=dt.UTC) + dt.timedelta(days=days)


def digest(encoder: int) -> str:
    """Of an encoder by its number."""
    return hashlib.sha256(str(encoder).encode()).hexdigest()


def write_night(root: Path, night: MadeUpNight, *, move_latest: bool = False) -> None:
    """Write all files of a night."""
    run_id, run, partition = night.run_id, f"runs/{night.run_id}", f"run_date={night.run_id[:10]}/run_id={night.run_id}"
    arms = [{"name": "new", "share": 0.5, "model": f"ranker-{night.arm}"}, {"name": "control", "share": 0.5}]
    experiments = [{"name": "x", "arms": arms}] if night.arm else []
    models = {
        f"ranker-{run_id}": {"base": None},
        f"ranker-{run_id}-refit": {"base": f"ranker-{run_id}"},
    }
    files: dict[str, object] = {
        f"{run}/config.yaml": {"experiments": experiments},  # JSON is YAML
        f"{run}/start.json": {"started_at": night.at.isoformat()},
        f"{run}/stages/encode.json": {"encoder_id": digest(0)},
        f"{run}/stages/finetune/start.json": {"model_id": f"ranker-{night.warm}" if night.warm else ""},
        f"{run}/stages/publish.json": {},
        f"{run}/catalog.parquet": run_id,
        f"histories/{run_id}/shard-00000.parquet": run_id,
        f"site/nights/{run_id}.html": run_id,
        f"site/summaries/{run_id}.json": {"run_id": run_id},
        f"recommendations/{partition}/shard-00000.parquet": run_id,
        f"similar_items/{partition}/shard-00000.parquet": run_id,
        f"item_report/{partition}/part-00000.parquet": run_id,
        f"metrics/{partition}/part-00000.parquet": run_id,
    }
    base_encoder = digest(0) if night.encoder else None
    for model, card in models.items():
        card |= {"encoder_id": digest(night.encoder), "base_encoder_id": base_encoder}
        files |= {f"models/{model}/{name}": run_id for name in ("ranker.safetensors", "fusion.json")}
        files[f"models/{model}/model.json"] = card
    for encoder in night.encoders:
        if not (root / "items" / encoder).exists():
            files[f"items/{encoder}/{run_id}-part.parquet"] = run_id
    for path, content in files.items():
        write(root, path, content)
    if night.published:
        publish_night(root, night, move_latest=move_latest, experiments=experiments)


def publish_night(root: Path, night: MadeUpNight, *, move_latest: bool, experiments: Sequence[Any] = ()) -> None:
    """Write the manifest and the receipt, and LATEST if asked."""
    config = {"seed": 0, "experiments": list(experiments)}
    path = f"recommendations/run_date={night.run_id[:10]}/run_id={night.run_id}"
    manifest = write(
        root, f"{path}/_MANIFEST.json", {"run_id": night.run_id, "users": 1, "rows": 2, "shards": [], "config": config}
    )
    pointer = {
        "run_id": night.run_id,
        "run_date": night.run_id[:10],
        "path": path,
        "model_id": f"ranker-{night.run_id}-refit",
        "published_at": night.at.isoformat(),
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
    }
    write(root, f"runs/{night.run_id}/published.json", pointer)
    if move_latest:
        write(root, LATEST, pointer)


def write(root: Path, path: str, content: object) -> bytes:
    """Write a text, or anything else as JSON."""
    data = (content if isinstance(content, str) else json.dumps(content)).encode()
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return data


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a storage but locks, by its path."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
    return {path: data for path, data in found.items() if not path.startswith("locks/")}
